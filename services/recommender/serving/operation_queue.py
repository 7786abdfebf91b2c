"""A line of operations: one runs at a time, the others wait; all of the latest can be asked about."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from services.kit.errors import NotFound, Reason, ResourceExhausted, TrunklineError
from services.recommender.serving.operations import Kind, Operation, State

MOST_WAITING = 16
_REMEMBERED = 200
_RETRY_AFTER_S = 10.0
_LOGGER = logging.getLogger(__name__)
Run = Callable[[Operation], Awaitable[None]]
"""Does what an operation is for and fills it in; raises TrunklineError where it cannot be done."""


@dataclass(slots=True)
class _Entry:
    operation: Operation
    run: Run
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class OperationQueue:
    """Owns operations. Made in a running event loop; `close` ends it."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: asyncio.Queue[_Entry] = asyncio.Queue(MOST_WAITING)
        self._running: tuple[_Entry, asyncio.Task[None]] | None = None
        self._task = asyncio.create_task(self._serve(), name="operations")

    def add(self, kind: Kind, run: Run, cause: str = "asked") -> Operation:
        """Begin an operation, or let it wait, and return at once. Raises ResourceExhausted (QUEUE_FULL)."""
        operation = Operation(secrets.token_hex(8), kind, time.time(), cause)
        entry = _Entry(operation, run)
        try:
            self._waiting.put_nowait(entry)
        except asyncio.QueueFull:
            message = f"{MOST_WAITING} trainings and evaluations wait already."
            metadata = {"limit": str(MOST_WAITING)}
            raise ResourceExhausted(
                Reason.QUEUE_FULL, message, metadata=metadata, retry_after=_RETRY_AFTER_S
            ) from None
        self._entries[operation.operation_id] = entry
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)
        return operation

    def get(self, operation_id: str) -> Operation:
        """Return the operation; raises NotFound (TRAINING_NOT_FOUND)."""
        return self._entry(operation_id).operation

    def latest(self) -> Sequence[Operation]:
        """Return the operations that are remembered, newest first."""
        return [each.operation for each in reversed(self._entries.values())]

    @property
    def busy(self) -> bool:
        """Whether a training runs or waits."""
        return any(
            not each.operation.done and each.operation.kind == "train" for each in self._entries.values()
        )

    async def wait(self, operation_id: str) -> Operation:
        """Return the operation when it is done. Raises NotFound."""
        entry = self._entry(operation_id)
        await entry.ended.wait()
        return entry.operation

    async def cancel(self, operation_id: str) -> Operation:
        """End the operation, whether it waits or runs; one that is done stays as it is. Raises NotFound."""
        entry = self._entry(operation_id)
        if self._running is not None and self._running[0] is entry:
            self._running[1].cancel()
            await entry.ended.wait()
        elif not entry.operation.done:
            _end(entry, "cancelled")
        return entry.operation

    async def close(self) -> None:
        """Cancel what runs and what waits."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for entry in self._entries.values():
            if not entry.operation.done:
                _end(entry, "cancelled")

    async def _serve(self) -> None:
        while True:
            entry = await self._waiting.get()
            if entry.operation.done:
                continue
            task = asyncio.create_task(_perform(entry), name=f"{entry.operation.kind}")
            self._running = (entry, task)
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                self._running = None

    def _entry(self, operation_id: str) -> _Entry:
        entry = self._entries.get(operation_id)
        if entry is None:
            message = f"There is no training {operation_id!r}."
            metadata = {"training_id": operation_id}
            raise NotFound(Reason.TRAINING_NOT_FOUND, message, metadata=metadata)
        return entry


async def _perform(entry: _Entry) -> None:
    operation = entry.operation
    operation.started = time.time()
    try:
        await entry.run(operation)
    except asyncio.CancelledError:
        _end(entry, "cancelled")
        raise
    except TrunklineError as error:
        operation.error = error.message
        _end(entry, "failed")
    except Exception:
        _LOGGER.exception("an operation failed", extra={"operation": operation.operation_id})
        operation.error = "it failed for a reason that is in the service's log"
        _end(entry, "failed")
    else:
        _end(entry, "succeeded")


def _end(entry: _Entry, state: State) -> None:
    entry.operation.state = state
    entry.operation.ended = time.time()
    entry.ended.set()
