"""Users: what is known of them beside their events; and their right to take it along or to be forgotten."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, delete, func, insert, literal_column, select, union

from services.kit.errors import NotFound, Reason
from services.recommender.entities import Event, User
from services.recommender.store.chunks import chunks
from services.recommender.store.database import Database
from services.recommender.store.erasure import Erased, erase_user
from services.recommender.store.event_log import EventLog
from services.recommender.store.event_rows import decode_event
from services.recommender.store.histories import Histories
from services.recommender.store.impressions import Impressions
from services.recommender.store.item_rows import decoded_attributes
from services.recommender.store.schema import events, items
from services.recommender.store.schema import users as table

_KEPT = 20_000
"""Users whose attributes stay in memory."""
_PAGE = 1_000


@dataclass(frozen=True)
class Receipt:
    """What EraseUser removed; nothing of the user is stored or cached any more."""

    rows: Mapping[str, int]
    """Rows deleted by table: users, events, impressions."""
    cached: int
    """Entries dropped from memory."""
    sessions: int
    """Sessions that the user had had, erased too."""
    versions: tuple[str, ...]
    """Model versions that were trained with the user's events: they must be trained again."""


@dataclass(frozen=True)
class Export:
    """A part of what is stored of a user: the user in the first part, events in all."""

    user: User | None
    events: Sequence[Event]


class Users:
    """The users' rows. Nothing of them is held in memory but a bounded cache of attributes."""

    def __init__(
        self, database: Database, log: EventLog, histories: Histories, impressions: Impressions
    ) -> None:
        """Keep users in `database`; an erasure reaches what the other three hold."""
        self._database = database
        self._log = log
        self._histories = histories
        self._impressions = impressions
        self._found: OrderedDict[str, User | None] = OrderedDict()

    async def upsert(self, users: Sequence[User]) -> None:
        """Write the users, whole; durable then. Of several with one id the last counts."""
        written = {each.user_id: each for each in users}
        encoded = [_encode(each) for each in written.values()]

        def work(connection: Connection) -> None:
            for part in chunks(list(written)):
                connection.execute(delete(table).where(table.c.user_id.in_(part)))
            if encoded:
                connection.execute(insert(table), encoded)

        def forget(_: None) -> None:
            self._forget(written)

        await self._database.writing(work, forget)

    async def get(self, user_id: str) -> User:
        """Return the user. Raises NotFound (USER_NOT_FOUND) where neither attributes nor events are known."""
        user = await self.find(user_id)
        if user is not None:
            return user
        if not (await self._histories.of([user_id]))[0]:
            raise _unknown(user_id)
        return User(user_id)

    async def find(self, user_id: str) -> User | None:
        """Return what was upserted of the user, None where nothing was; cached."""
        if user_id in self._found:
            self._found.move_to_end(user_id)
            return self._found[user_id]
        query = select(table).where(table.c.user_id == user_id)
        found = await self._database.reading(lambda connection: connection.execute(query).first())
        user = self._found[user_id] = None if found is None else _decode(found)
        if len(self._found) > _KEPT:
            self._found.popitem(last=False)
        return user

    async def list(self, *, after: str = "", limit: int = 100) -> Sequence[User]:
        """Return up to `limit` upserted users ordered by id, those after the id `after`."""
        query = select(table).where(table.c.user_id > after).order_by(table.c.user_id).limit(limit)
        found = await self._database.reading(lambda connection: connection.execute(query).all())
        return [_decode(each) for each in found]

    async def erase(self, user_id: str) -> Receipt:
        """Remove everything of the user, here and in what listens; idempotent."""
        await self._impressions.flush()
        origin, cached = self._database.origin, 0

        def committed(erased: Erased) -> None:
            nonlocal cached
            # Counted before the listeners drop them too.
            cached += self._histories.forget(user_id, erased.sessions)
            cached += self._impressions.forget(user_id, erased.sessions)
            cached += self._forget([user_id])
            self._log.announce_removed(erased.removed)

        erased = await self._database.writing(
            lambda connection: erase_user(connection, user_id, origin), committed
        )
        await self._database.vacuum()
        return Receipt(erased.rows, cached, len(erased.sessions), erased.versions)

    async def export(self, user_id: str) -> AsyncIterator[Export]:
        """Yield all that is stored of the user. Raises NotFound (USER_NOT_FOUND)."""
        user, after = await self.get(user_id), 0
        while True:
            found = await self._database.reading(_page(user_id, after))
            if found or not after:
                yield Export(None if after else user, [decode_event(each, each.item_id) for each in found])
            if len(found) < _PAGE:
                return
            after = found[-1].sequence

    async def count(self) -> int:
        """Return how many users have attributes or events."""
        known = union(select(table.c.user_id), select(events.c.user_id).where(events.c.user_id != ""))
        query = select(func.count()).select_from(known.subquery())
        return await self._database.reading(lambda connection: int(connection.scalar(query) or 0))

    def clear(self) -> None:
        """Drop what is in memory; it is read again when it is wanted."""
        self._found.clear()

    def _forget(self, user_ids: Sequence[str] | Mapping[str, User]) -> int:
        return sum(self._found.pop(each, None) is not None for each in user_ids)


def _page(user_id: str, after: int) -> Callable[[Connection], Sequence[Any]]:
    """Return what reads the user's next events, with the ids of their items."""
    page = select(events, items.c.item_id).join_from(events, items, events.c.item_row == items.c.row)
    page = page.where(
        events.c.user_id == user_id, events.c.user_id != literal_column("''"), events.c.sequence > after
    )
    query = page.order_by(events.c.sequence).limit(_PAGE)
    return lambda connection: connection.execute(query).all()


def _unknown(user_id: str) -> NotFound:
    message = f"nothing is known of user {user_id!r}"
    return NotFound(Reason.USER_NOT_FOUND, message, metadata={"user_id": user_id})


def _encode(user: User) -> dict[str, Any]:
    body = {"attributes": dict(user.attributes), "tags": user.tags}
    return {
        "user_id": user.user_id,
        "body": json.dumps({name: value for name, value in body.items() if value}),
        "embedding": np.array(user.embedding, "<f4").tobytes(),
        "updated": time(),
    }


def _decode(each: Row[Any]) -> User:
    body = json.loads(each.body)
    return User(
        user_id=each.user_id,
        attributes=decoded_attributes(body),
        tags=tuple(body.get("tags", ())),
        embedding=tuple(np.frombuffer(each.embedding, "<f4").tolist()),
    )
