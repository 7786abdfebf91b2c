"""The log: events, durable and in order, each stored once whatever is retried."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from math import isfinite
from time import time
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, func, select

from services.kit.errors import NotFound, Reason, invalid
from services.recommender.entities import Event
from services.recommender.store.appending import Appending, Batch
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.database import Database
from services.recommender.store.event_rows import decode_event
from services.recommender.store.marks import last
from services.recommender.store.removal import Selection, remove_events
from services.recommender.store.schema import events as table
from services.recommender.store.stored import Appended, Choice, Removed, Run, Stored, WriteMode

T = TypeVar("T")

__all__ = ["Appended", "Choice", "EventLog", "Listener", "Removed", "Stored", "WriteMode"]

Listener = Callable[[Stored], None]
RemovalListener = Callable[[Removed], None]
_LOGGER = logging.getLogger(__name__)


class EventLog:
    """Appends events and tells of them. Belongs to one event loop."""

    def __init__(self, database: Database, catalogue: Catalogue, *, create_items: bool = True) -> None:
        """Log into `database`; `create_items`: an unknown item of an event is entered with its id alone."""
        self._database = database
        self._catalogue = catalogue
        self._create_items = create_items
        self._listeners: list[Listener] = []
        self._removal_listeners: list[RemovalListener] = []
        self._appending = Appending(database, self._committed)
        self._sequence = 0

    @property
    def sequence(self) -> int:
        """The last sequence number that this process knows to be durable."""
        return self._sequence

    async def open(self) -> None:
        """Learn where the log stands."""
        self._sequence = await self._database.reading(lambda connection: last(connection, "sequence"))

    async def append(self, events: Sequence[Event], mode: WriteMode = WriteMode.ACCUMULATE) -> Appended:
        """Store the events that are not yet stored (by event_id) and return when they are durable.

        Listeners have been called by then: the next answer reckons with them. A timestamp of 0 becomes now.
        Raises ResourceExhausted (QUEUE_FULL), Unavailable (STORE_UNAVAILABLE, DRAINING; try again, what is
        stored already is not stored twice), NotFound (ITEM_NOT_FOUND, only without `create_items`),
        InvalidArgument (a value that is not finite).
        """
        if not events:
            return Appended(self._sequence, 0, 0)
        return await self._appending.add(self._run(events, mode))

    def listen(self, listener: Listener) -> None:
        """Call `listener` with what is new in the log, in the event loop, in the order of sequences.

        Events of other replicas come too, where they are followed (following.py).
        """
        self._listeners.append(listener)

    def listen_removed(self, listener: RemovalListener) -> None:
        """Call `listener` with what was removed from the log, in the event loop."""
        self._removal_listeners.append(listener)

    def announce(self, stored: Stored) -> None:
        """Tell the listeners of events in the log."""
        if stored.events:
            self._sequence = max(self._sequence, stored.sequences[-1])
            _tell(self._listeners, stored)

    def announce_removed(self, removed: Removed) -> None:
        """Tell the listeners of what was removed from the log."""
        self._sequence = max(self._sequence, removed.sequence)
        _tell(self._removal_listeners, removed)

    async def count(self) -> int:
        """Return how many events are stored."""
        query = select(func.count()).select_from(table)
        return await self._database.reading(lambda connection: int(connection.scalar(query) or 0))

    async def replay(self, *, after: int = 0, batch: int = 10_000) -> AsyncIterator[Stored]:
        """Yield all events after that sequence that nothing has superseded, in batches, in order."""
        query = select(table).where(~table.c.superseded).order_by(table.c.sequence).limit(batch)
        while True:
            found = await self._database.reading(_all(query.where(table.c.sequence > after)))
            if not found:
                return
            ids = self._catalogue.ids
            decoded = [decode_event(each, ids[each.item_row]) for each in found]
            yield Stored(decoded, [each.item_row for each in found], [each.sequence for each in found])
            after = found[-1].sequence

    async def delete(
        self,
        *,
        user_id: str = "",
        item_id: str = "",
        event_type: str = "",
        since: float = 0.0,
        until: float = 0.0,
    ) -> int:
        """Delete the events that fit all that is given and return how many: `since` ≤ timestamp < `until`.

        Raises InvalidArgument where nothing is given.
        """
        if not (user_id or item_id or event_type or since or until):
            raise invalid("user_id", "or another condition must be given")
        row = self._catalogue.row(item_id) if item_id else None
        return (await self.remove(Selection(user_id, row, event_type, since, until))).count

    async def remove(self, selection: Selection) -> Removed:
        """Delete the events that fit and return what they were; listeners have been called by then."""
        origin = self._database.origin
        return await self._database.writing(
            lambda connection: remove_events(connection, selection, origin),
            self.announce_removed,
        )

    def _run(self, events: Sequence[Event], mode: WriteMode) -> Run:
        known = self._catalogue.row
        rows = [known(each.item_id) for each in events]
        if not self._create_items and -1 in rows:
            item_id = events[rows.index(-1)].item_id
            message = f"there is no item {item_id!r}"
            raise NotFound(Reason.ITEM_NOT_FOUND, message, metadata={"item_id": item_id})
        if not all(isfinite(each.value) and isfinite(each.timestamp) for each in events):
            raise invalid("events", "must have finite values and timestamps")
        now = time()
        timed = [each if each.timestamp else replace(each, timestamp=now) for each in events]
        return Run(timed, rows, mode)

    def _committed(self, batch: Batch) -> None:
        if batch.entered:
            self._catalogue.entered(batch.entered)
        for stored in batch.stored:
            self.announce(stored)
        self._sequence = max(self._sequence, batch.sequence)


def _all(query: Select[Any]) -> Callable[[Connection], Sequence[Any]]:
    return lambda connection: connection.execute(query).all()


def _tell(listeners: Iterable[Callable[[T], None]], what: T) -> None:
    for listener in listeners:
        try:
            listener(what)
        except Exception:
            _LOGGER.exception("a listener of the log failed")
