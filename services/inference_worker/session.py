"""One connection to one engine process, from its start to its end: commands out, events in."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from services.inference_worker.mailbox import Mailboxes
from services.inference_worker.wire import (
    LENGTH,
    Cancel,
    Command,
    Embed,
    Event,
    Generate,
    Loaded,
    LoadFailed,
    LoadModel,
    Report,
    Started,
    Unloaded,
    UnloadModel,
    decode_event,
    encode,
)
from services.kit.errors import FailedPrecondition, Reason, Unavailable

_LOG = logging.getLogger(__name__)


class Session:
    """What is under way with an engine. When the connection ends, all of it fails with ENGINE_LOST.

    `started` is done when the engine takes commands, and has that error where it never did. `on_event` sees
    every event after the session has dealt with it, and a report before: its requests are still under way.
    """

    def __init__(self, device: str, connection: socket.socket, on_event: Callable[[Event], None]) -> None:
        self.mailboxes = Mailboxes()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._device = device
        self._connection = connection
        self._on_event = on_event
        self._writer: asyncio.StreamWriter | None = None
        self._loads: dict[str, asyncio.Future[Loaded]] = {}
        self._unloads: dict[str, asyncio.Future[None]] = {}

    @property
    def ready(self) -> bool:
        """Whether the engine takes commands."""
        return self.started.done() and self._writer is not None and not self._writer.is_closing()

    async def run(self) -> None:
        """Serve the connection until the engine's end of it closes."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection)
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                event = decode_event(await reader.readexactly(length))
                self._tell(event)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the engine has gone
        except msgspec.MsgspecError:
            _LOG.exception("the engine of %s does not speak our language", self._device)
        finally:
            self._end()

    def lost(self) -> Unavailable:
        """Return the error for what the engine will not answer any more."""
        return Unavailable(
            Reason.ENGINE_LOST,
            f"The engine of {self._device} has ended; a new one is starting.",
            metadata={"device": self._device},
        )

    async def load(self, command: LoadModel) -> Loaded:
        """Load a model; raises FailedPrecondition (MODEL_LOAD_FAILED), Unavailable (ENGINE_LOST)."""
        answer: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._loads[command.model] = answer
        self._send(command)
        return await answer

    async def unload(self, model: str) -> None:
        """Take a model off; raises Unavailable (ENGINE_LOST)."""
        answer = self._unloads[model] = asyncio.get_running_loop().create_future()
        self._send(UnloadModel(model))
        await answer

    def submit(self, request: Generate | Embed) -> None:
        """Send a request, for which a mailbox is open."""
        self._send(request)

    def cancel(self, request_id: int) -> None:
        """Tell the engine to forget a request, unless it has answered it already."""
        if self.mailboxes.close(request_id):
            self._send(Cancel(request_id))

    def _send(self, command: Command) -> None:
        if self._writer is None or self._writer.is_closing():
            raise self.lost()
        self._writer.write(encode(command))

    def _tell(self, event: Event) -> None:
        if isinstance(event, Report):
            self._on_event(event)
            for output in event.outputs:
                self.mailboxes.deliver(output)
        else:
            self._take(event)
            self._on_event(event)

    def _take(self, event: Event) -> None:
        match event:
            case Started():
                _settle(self.started, None)
            case Loaded():
                _settle(self._loads.pop(event.model, None), event)
            case LoadFailed():
                error = FailedPrecondition(
                    Reason.MODEL_LOAD_FAILED,
                    f"The engine cannot load {event.model}: {event.message}",
                    metadata={"model": event.model.partition("@")[0]},
                )
                _settle(self._loads.pop(event.model, None), error)
            case Unloaded():
                _settle(self._unloads.pop(event.model, None), None)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        answers: list[asyncio.Future[Any]] = [self.started, *self._loads.values(), *self._unloads.values()]
        for answer in answers:
            _settle(answer, self.lost())
        self.started.exception()  # nobody need be waiting for it
        self.mailboxes.fail(self.lost())


def _settle(answer: asyncio.Future[Any] | None, result: Any) -> None:
    if answer is None or answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
