"""Group commit: one thread writes, and what waited while it did so is its next transaction. No timer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from services.kit.errors import Reason, ResourceExhausted, TrunklineError, Unavailable

T = TypeVar("T")

MAX_WAITING = 8_192
"""Writes that wait; more are refused."""
MAX_GROUP = 1_024
_LOGGER = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Write:
    """One piece of a transaction: what it does, and who waits for it."""

    work: Callable[[Connection], Any]
    committed: Callable[[Any], None] | None
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Tell of the outcome, in the event loop."""
        if self.error is None and self.committed is not None:
            try:
                self.committed(self.result)
            except Exception:
                _LOGGER.exception("what follows a commit failed")
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)


class GroupCommit:
    """Runs works on one connection, on one thread of its own, as few transactions as their arrival allows."""

    def __init__(
        self, connect: Callable[[], Connection], translate: Callable[[DBAPIError], TrunklineError]
    ) -> None:
        """Write through `connect()`, called when first needed; `translate` makes the driver's errors ours."""
        self._connect = connect
        self._translate = translate
        self._connection: Connection | None = None
        self._waiting: deque[_Write] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(
        self, work: Callable[[Connection], T], committed: Callable[[T], None] | None
    ) -> asyncio.Future[T]:
        """Return what will have the result of `work` once it is committed: see `Database.writing`."""
        loop = asyncio.get_running_loop()
        write = _Write(work, committed, loop.create_future(), loop)
        with self._changed:
            if self._closing:
                raise Unavailable(Reason.DRAINING, "the store is closed")
            if len(self._waiting) >= MAX_WAITING:
                message = f"{len(self._waiting):,} writes wait already"
                raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata={"limit": str(MAX_WAITING)})
            self._waiting.append(write)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recommender-write", daemon=True)
                self._thread.start()
            self._changed.notify()
        return write.answer

    def close(self) -> None:
        """Commit what waits and end the thread; blocks. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while group := self._next():
            self._commit(group)
            _tell(group)
        if self._connection is not None:
            self._connection.close()

    def _next(self) -> list[_Write]:
        """Return what waits, once something does; nothing: the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]

    def _commit(self, group: Sequence[_Write]) -> None:
        """Write the group in one transaction; where that fails, each in one of its own."""
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is given to those who wait
            if len(group) > 1 and not _lost(error):
                for each in group:
                    self._commit([each])
                return
            for each in group:
                each.error = self._seen(error)

    def _transact(self, group: Sequence[_Write]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        try:
            with self._connection.begin():
                for each in group:
                    each.result = each.work(self._connection)
        except DBAPIError as error:
            if _lost(error):
                self._connection.close()
                self._connection = None
            raise

    def _seen(self, error: Exception) -> Exception:
        """Return the error as a caller may see it."""
        if not isinstance(error, DBAPIError):
            return error
        _LOGGER.warning("the database refused a write", exc_info=error)
        seen = self._translate(error)
        seen.__cause__ = error
        return seen


def _lost(error: BaseException) -> bool:
    """Return whether the connection itself is of no more use."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _tell(group: Sequence[_Write]) -> None:
    """Settle each write in its event loop, in order; one loop's in one call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
    for each in group:
        by_loop.setdefault(each.loop, []).append(each)
    for loop, writes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, writes)
        except RuntimeError:
            _LOGGER.warning("a write was committed after its event loop had ended")


def _settle(writes: Sequence[_Write]) -> None:
    for each in writes:
        each.settle()
