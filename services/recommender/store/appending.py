"""Appends on their way: what arrives while a transaction runs goes into the next one, as few statements."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from services.kit.errors import Reason, ResourceExhausted
from services.recommender.store.database import Database
from services.recommender.store.event_rows import write_events
from services.recommender.store.item_rows import enter_items
from services.recommender.store.marks import last
from services.recommender.store.stored import Appended, Run, Stored

MAX_WAITING = 200_000
"""Events that wait for their transaction; more are refused."""
MAX_BATCH = 10_000
"""Events of one transaction: about a tenth of a second."""


@dataclass(eq=False, slots=True)
class _Call:
    """One append that waits."""

    run: Run
    answer: asyncio.Future[Appended]


@dataclass(eq=False, slots=True)
class _Part:
    """Calls of one mode, in a row."""

    run: Run
    calls: list[_Call]
    stored: Stored | None = None
    kept: Sequence[int] = ()

    def answer(self, sequence: int) -> None:
        """Tell each call what became of its events."""
        start = 0
        for call in self.calls:
            end = start + len(call.run.events)
            accepted = bisect_left(self.kept, end) - bisect_left(self.kept, start)
            if not call.answer.done():
                call.answer.set_result(Appended(sequence, accepted, end - start - accepted))
            start = end


@dataclass(eq=False, slots=True)
class Batch:
    """What goes into one transaction, and what became of it."""

    parts: list[_Part] = field(default_factory=list)
    size: int = 0
    entered: dict[str, int] = field(default_factory=dict)
    """Items that were unknown to the callers, and their rows."""
    sequence: int = 0

    @property
    def stored(self) -> Iterable[Stored]:
        """What stands in the log, in order."""
        return [each.stored for each in self.parts if each.stored is not None]

    @property
    def calls(self) -> Iterable[_Call]:
        """Who waits."""
        return [call for part in self.parts for call in part.calls]

    def add(self, call: _Call) -> None:
        """Take in a call, after those that are in."""
        self.size += len(call.run.events)
        if not self.parts or self.parts[-1].run.mode is not call.run.mode:
            self.parts.append(_Part(Run([], [], call.run.mode), []))
        part = self.parts[-1]
        part.run.events.extend(call.run.events)
        part.run.rows.extend(call.run.rows)
        part.calls.append(call)

    def write(self, connection: Connection, origin: int) -> None:
        """Write it all; a second time writes the same."""
        for part in self.parts:
            run = part.run
            unknown = [event.item_id for event, row in zip(run.events, run.rows, strict=True) if row < 0]
            if unknown:
                rows = enter_items(connection, unknown, origin)
                self.entered |= rows
                filled = [
                    row if row >= 0 else rows[event.item_id]
                    for event, row in zip(run.events, run.rows, strict=True)
                ]
                run = Run(run.events, filled, run.mode)
            part.stored, part.kept = write_events(connection, run, origin)
        self.sequence = last(connection, "sequence")


class Appending:
    """The queue of appends. `add` belongs to one event loop; the writer's thread takes from it."""

    def __init__(self, database: Database, committed: Callable[[Batch], None]) -> None:
        """Write into `database`; `committed` is called in the loop, before those who wait are answered."""
        self._database = database
        self._committed = committed
        self._calls: deque[_Call] = deque()
        self._events = 0
        self._scheduled = False

    def add(self, run: Run) -> asyncio.Future[Appended]:
        """Queue events; what is returned will say what became of them. Raises ResourceExhausted."""
        if self._events + len(run.events) > MAX_WAITING:
            message = f"{self._events:,} events wait already"
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata={"limit": str(MAX_WAITING)})
        call = _Call(run, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._events += len(run.events)
        self._schedule()
        return call.answer

    def _schedule(self) -> None:
        """Have the next transaction take what waits, unless one is to come already."""
        if self._scheduled or not self._calls:
            return
        self._scheduled, batch = True, Batch()
        try:
            written = self._database.submit(
                lambda connection: self._write(connection, batch), lambda _: self._tell(batch)
            )
        except Exception as error:  # noqa: BLE001 - it is given to those who wait
            self._take(batch)
            self._fail(batch, error)
            return
        written.add_done_callback(lambda done: self._done(batch, done))

    def _take(self, batch: Batch) -> None:
        # The flag first: an append that comes meanwhile is taken here, or begins a transaction of its own.
        self._scheduled = False
        while self._calls and batch.size < MAX_BATCH:
            batch.add(self._calls.popleft())

    def _write(self, connection: Connection, batch: Batch) -> None:
        if not batch.parts:
            self._take(batch)
        batch.write(connection, self._database.origin)

    def _tell(self, batch: Batch) -> None:
        """Tell listeners first, then those who wait: what they ask next reckons with their events."""
        self._events -= batch.size
        try:
            self._committed(batch)
        finally:
            for part in batch.parts:
                part.answer(batch.sequence)
            self._schedule()

    def _done(self, batch: Batch, done: asyncio.Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self._fail(batch, error)

    def _fail(self, batch: Batch, error: BaseException) -> None:
        self._events -= batch.size
        for call in batch.calls:
            if not call.answer.done():
                call.answer.set_exception(error)
        self._schedule()
