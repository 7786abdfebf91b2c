"""What was shown to whom, under which recommendation_id, so that what happens next can be attributed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import time

from sqlalchemy import Connection, and_, delete, literal_column, or_

from services.recommender.entities import Event
from services.recommender.store.chunks import chunks
from services.recommender.store.database import Database
from services.recommender.store.impression_rows import Impression, read_impressions, write_impressions
from services.recommender.store.schema import impressions as table

__all__ = ["Attribution", "Impression", "Impressions"]

_MOST_USERS = 20_000
"""Users whose lists are kept for frequency caps."""
_MOST_UNWRITTEN = 50_000
"""Lists that wait for the database; more are dropped: answers go on where it stands still."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which place of which list an event came from."""

    impression: Impression
    position: int
    """From 1; 0: the item was not in the list."""
    source: str
    """Empty where the item was not in the list."""


class Impressions:
    """The lists shown of late in memory, all of them in the database. Belongs to one event loop."""

    def __init__(self, database: Database, *, kept: int = 50_000, clock: Callable[[], float] = time) -> None:
        """Keep the last `kept` lists in memory."""
        self._database = database
        self._kept = kept
        self._clock = clock
        self._latest: OrderedDict[str, Impression] = OrderedDict()
        self._of_users: OrderedDict[str, list[Impression]] = OrderedDict()
        self._unwritten: list[Impression] = []
        self._writing: asyncio.Task[None] | None = None

    def record(self, impression: Impression) -> None:
        """Keep what was shown. Returns at once; it is durable a moment later, with the next commit."""
        shown = impression if impression.timestamp else replace(impression, timestamp=self._clock())
        self._remember(shown)
        if len(self._unwritten) >= _MOST_UNWRITTEN:
            return
        self._unwritten.append(shown)
        of_user = self._of_users.get(shown.user_id)
        if of_user is not None:
            of_user.append(shown)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="impressions")

    async def get(self, recommendation_id: str) -> Impression | None:
        """Return the list, None where it was not recorded."""
        return (await self._find([recommendation_id])).get(recommendation_id)

    async def attribute(self, events: Sequence[Event], rows: Sequence[int]) -> list[Attribution | None]:
        """Return where each event came from, in order; None without a recommendation_id that is known."""
        lists = await self._find({each.recommendation_id for each in events if each.recommendation_id})
        return [
            _place(lists.get(event.recommendation_id), row) for event, row in zip(events, rows, strict=True)
        ]

    async def shown(self, user_id: str, since: float) -> Counter[int]:
        """Return how often each row was shown to the user since then (Unix seconds)."""
        lists = self._of_users.get(user_id)
        if lists is None:
            lists = await self._lists_of(user_id)
        else:
            self._of_users.move_to_end(user_id)
        return Counter(row for each in lists if each.timestamp >= since for row in each.rows)

    async def replay(self, *, since: float = 0.0, batch: int = 1_000) -> AsyncIterator[Sequence[Impression]]:
        """Yield all lists shown since then, in order of time."""
        await self.flush()
        columns = table.c
        after = columns.timestamp >= since
        while found := await self._read(after, batch):
            yield found
            time_, id_ = found[-1].timestamp, found[-1].recommendation_id
            later = and_(columns.timestamp == time_, columns.recommendation_id > id_)
            after = or_(columns.timestamp > time_, later)

    async def prune(self, before: float) -> int:
        """Delete what was shown before then (Unix seconds) and return how many lists that were."""
        query = delete(table).where(table.c.timestamp < before)
        return await self._database.writing(lambda connection: connection.execute(query).rowcount)

    async def flush(self) -> None:
        """Return when all that was recorded is durable."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def forget(self, user_id: str, session_ids: Iterable[str] = ()) -> int:
        """Drop what is in memory of a user and sessions; return how many lists that were."""
        sessions = set(session_ids)
        theirs = [
            name
            for name, each in self._latest.items()
            if (user_id and each.user_id == user_id) or (each.session_id and each.session_id in sessions)
        ]
        for name in theirs:
            del self._latest[name]
        self._of_users.pop(user_id, None)
        return len(theirs)

    def clear(self) -> None:
        """Drop what is in memory; it is read again when it is wanted."""
        self._latest.clear()
        self._of_users.clear()

    async def _write(self) -> None:
        """Write what waits, all at once, until nothing does."""
        while self._unwritten:
            shown, self._unwritten = self._unwritten, []
            try:
                await self._database.writing(_writer(shown))
            except Exception:
                _LOGGER.exception("%d lists that were shown are not recorded", len(shown))

    async def _find(self, ids: Iterable[str]) -> dict[str, Impression]:
        found = {each: self._latest[each] for each in ids if each in self._latest}
        missing = [each for each in ids if each not in found]
        for part in chunks(missing):
            for each in await self._read(table.c.recommendation_id.in_(part)):
                found[each.recommendation_id] = each
                self._remember(each)
        return found

    async def _lists_of(self, user_id: str) -> list[Impression]:
        """Return the user's lists, kept from now on."""
        await self.flush()
        lists = list(
            await self._read(and_(table.c.user_id == user_id, table.c.user_id != literal_column("''")))
        )
        there = {each.recommendation_id for each in lists}
        lists += [
            each
            for each in reversed(self._latest.values())
            if each.user_id == user_id and each.recommendation_id not in there
        ]
        self._of_users[user_id] = lists
        if len(self._of_users) > _MOST_USERS:
            self._of_users.popitem(last=False)
        return lists

    def _remember(self, shown: Impression) -> None:
        self._latest[shown.recommendation_id] = shown
        if len(self._latest) > self._kept:
            self._latest.popitem(last=False)

    async def _read(self, condition: object, limit: int = 1_000_000) -> Sequence[Impression]:
        return await self._database.reading(lambda connection: read_impressions(connection, condition, limit))


def _writer(shown: Sequence[Impression]) -> Callable[[Connection], None]:
    return lambda connection: write_impressions(connection, shown)


def _place(shown: Impression | None, row: int) -> Attribution | None:
    if shown is None:
        return None
    if row not in shown.rows:
        return Attribution(shown, 0, "")
    index = shown.rows.index(row)
    return Attribution(shown, index + 1, shown.sources[index])
