"""Replicas: what another one writes reaches this one's memory within a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from services.kit.errors import TrunklineError
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.database import Database
from services.recommender.store.event_log import EventLog
from services.recommender.store.event_rows import decode_event
from services.recommender.store.schema import erasures, events, marks
from services.recommender.store.stored import Stored, WriteMode

PERIOD_S = 0.25
_AT_ONCE = 10_000
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _News:
    """What others wrote since the last look."""

    sequence: int
    """Up to which it was read."""
    change: int
    events: Sequence[Any]
    erased: bool


class Following:
    """A task that looks for what others wrote, each `PERIOD_S`; belongs to one event loop."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        log: EventLog,
        *,
        forget: Callable[[], Awaitable[None]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        """Tell `log`'s listeners; `forget` when events were removed, `refresh` with each look."""
        self._database = database
        self._catalogue = catalogue
        self._log = log
        self._forget = forget
        self._refresh = refresh
        self._sequence = log.sequence
        self._change = -1
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="following")

    async def close(self) -> None:
        """Stop looking. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Take in what others wrote since the last look; raises Unavailable."""
        news = await self._database.reading(self._read)
        if news.change != self._change or news.events:
            await self._catalogue.refresh()
            self._change = news.change
        ids = self._catalogue.ids
        for mode, group in groupby(news.events, key=lambda each: each.mode):
            rows = list(group)
            decoded = [decode_event(each, ids[each.item_row]) for each in rows]
            places = [each.item_row for each in rows]
            self._log.announce(Stored(decoded, places, [each.sequence for each in rows], WriteMode(mode)))
        if news.erased:
            await self._forget()
        self._sequence = news.sequence
        await self._refresh()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except TrunklineError as error:
                _LOGGER.warning("what other replicas wrote cannot be read: %s", error.message)
            except Exception:
                _LOGGER.exception("following other replicas failed; it goes on")
            await asyncio.sleep(PERIOD_S)

    def _read(self, connection: Connection) -> _News:
        last = dict(connection.execute(select(marks.c.name, marks.c.value)).all())
        after, sequence = self._sequence, last["sequence"]
        if sequence == after:
            return _News(sequence, last["change"], (), erased=False)
        other = events.c.origin != self._database.origin
        query = select(events).where(events.c.sequence > after, other, ~events.c.superseded)
        found = connection.execute(query.order_by(events.c.sequence).limit(_AT_ONCE)).all()
        if len(found) == _AT_ONCE:
            sequence = found[-1].sequence
        removals = select(erasures.c.sequence).where(
            erasures.c.sequence > after,
            erasures.c.sequence <= sequence,
            erasures.c.origin != self._database.origin,
        )
        erased = connection.execute(removals.limit(1)).first() is not None
        return _News(sequence, last["change"], found, erased=erased)
