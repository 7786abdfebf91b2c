"""The log: events, durable and in order, each stored once whatever is retried."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from services.recommender.entities import Event
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.database import Database


class WriteMode(IntEnum):
    """What an event does to earlier ones of the same user (or session), item and type."""

    ACCUMULATE = 0
    """Stands beside them."""
    OVERWRITE = 1
    """Takes their place."""
    IGNORE = 2
    """Is dropped where there is one."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a call's events, all durable."""

    sequence: int
    """Of the last event in the log, this call's included: a later call has a higher one or the same."""
    accepted: int
    duplicates: int
    """Events whose id was stored before (or that mode IGNORE dropped)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Events as they stand in the log, of one commit; the lists are aligned."""

    events: Sequence[Event]
    rows: Sequence[int]
    """Of their items in the catalogue."""
    sequences: Sequence[int]
    mode: WriteMode = WriteMode.ACCUMULATE


Listener = Callable[[Stored], None]


class EventLog:
    """Appends events and tells of them. Belongs to one event loop."""

    def __init__(self, database: Database, catalogue: Catalogue, *, create_items: bool = True) -> None:
        """Log into `database`; `create_items`: an unknown item of an event is entered with its id alone."""

    @property
    def sequence(self) -> int:
        """The last sequence number that this process knows to be durable."""
        raise NotImplementedError

    async def append(self, events: Sequence[Event], mode: WriteMode = WriteMode.ACCUMULATE) -> Appended:
        """Store the events that are not yet stored (by event_id) and return when they are durable.

        Listeners have been called by then: the next answer reckons with them. A timestamp of 0 becomes now.
        Raises ResourceExhausted (QUEUE_FULL), Unavailable (all or nothing is stored: try again),
        NotFound (ITEM_NOT_FOUND, only without `create_items`), InvalidArgument.
        """
        raise NotImplementedError

    def listen(self, listener: Listener) -> None:
        """Call `listener` with what is new in the log, in the event loop, in the order of sequences.

        Events of other replicas come too, where they are followed (following.py).
        """
        raise NotImplementedError

    async def count(self) -> int:
        """Return how many events are stored."""
        raise NotImplementedError

    def replay(self, *, after: int = 0, batch: int = 10_000) -> AsyncIterator[Stored]:
        """Yield all events with a sequence above `after` that nothing has superseded, in batches, in order."""
        raise NotImplementedError

    async def delete(
        self,
        *,
        user_id: str = "",
        item_id: str = "",
        event_type: str = "",
        since: float = 0.0,
        until: float = 0.0,
    ) -> int:
        """Delete the events that fit all that is given and return how many. Raises InvalidArgument for nothing."""
        raise NotImplementedError
