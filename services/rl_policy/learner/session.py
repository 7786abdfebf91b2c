"""One connection to one learner, from its start to its end: calls out, progress in."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from services.kit.errors import Reason, Unavailable
from services.rl_policy.algorithms.algorithm import Array
from services.rl_policy.learner.frames import LENGTH, Frame, FrameError, decode, encode

_LOG = logging.getLogger(__name__)


class Session:
    """What is under way with a learner. When the connection ends, it fails with LEARNER_UNAVAILABLE.

    `ready` is done when it learns, and has that error where it never did. `on_frame` hears the rest.
    """

    def __init__(self, policy: str, connection: socket.socket, on_frame: Callable[[Frame], None]) -> None:
        self.ready: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._policy = policy
        self._connection = connection
        self._on_frame = on_frame
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[int, asyncio.Future[Frame]] = {}
        self._count = 0

    async def run(self, first: Frame) -> None:
        """Send the first frame, then serve the connection until the learner's end of it closes."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection)
        try:
            self._writer.write(encode(first))
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                self._take(decode(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the learner has gone
        except FrameError:
            _LOG.exception("the learner of %s does not speak our language", self._policy)
        finally:
            self._end()

    async def call(self, kind: str, arrays: Mapping[str, Array], **values: Any) -> Frame:
        """Return the answer to a call; raises Unavailable (LEARNER_UNAVAILABLE)."""
        self._count += 1
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._calls[self._count] = answer
        self.send(Frame(kind, self._count, values, arrays))
        return await answer

    def send(self, frame: Frame) -> None:
        """Send a frame; raises Unavailable."""
        if self._writer is None or self._writer.is_closing():
            raise lost(self._policy)
        self._writer.write(encode(frame))

    def _take(self, frame: Frame) -> None:
        if frame.kind == "ready":
            if not self.ready.done():
                self.ready.set_result(frame)
        elif answer := self._calls.pop(frame.call, None):
            if not answer.done():
                answer.set_result(frame)
        else:
            self._on_frame(frame)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        for answer in (self.ready, *self._calls.values()):
            if not answer.done():
                answer.set_exception(lost(self._policy))
                answer.exception()  # whoever asked may have gone: asyncio need not warn of it
        self._calls.clear()


def lost(policy: str) -> Unavailable:
    """Return the error for what a learner will not answer."""
    message = f"the learner of policy {policy!r} has ended"
    return Unavailable(Reason.LEARNER_UNAVAILABLE, message, metadata={"policy": policy})
