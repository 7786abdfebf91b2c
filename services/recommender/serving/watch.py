"""WatchUser: a list, and a new one whenever events, the catalogue or a new version change it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from services.kit.errors import Reason, ResourceExhausted
from services.recommender.serving.answer import Recommendations
from services.recommender.serving.query import Query
from services.recommender.store.stored import Stored

MOST = 10_000
"""Watches at once."""
_RETRY_AFTER_S = 1.0


class Watch:
    """Wakes those who watch a user when something happens that could change the list. For one event loop."""

    def __init__(self, recommend: Callable[[Query], Awaitable[Recommendations]]) -> None:
        self._recommend = recommend
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0

    async def lists(self, query: Query) -> AsyncGenerator[Recommendations, None]:
        """Yield the list as it stands, then each one that differs in its items, until the iterator is closed.

        Events that arrive while a list is on its way are joined: the next list knows all of them. Raises as
        `Recommender.recommend`, and ResourceExhausted (QUEUE_FULL) past the most watches.
        """
        shown: list[int] | None = None
        with self._watching(query.user_id) as changed:
            while True:
                changed.clear()
                made = await self._recommend(query)
                rows = [each.row for each in made.items]
                if rows != shown:
                    shown = rows
                    yield made
                await changed.wait()

    def record(self, stored: Stored) -> None:
        """Wake those whom new events are of: the log's listener."""
        if self._waiting:
            for user_id in {each.user_id for each in stored.events}:
                for changed in self._waiting.get(user_id, ()):
                    changed.set()

    def all(self) -> None:
        """Wake everybody: another version serves, or the catalogue changed."""
        for watches in self._waiting.values():
            for changed in watches:
                changed.set()

    @contextmanager
    def _watching(self, user_id: str) -> Iterator[asyncio.Event]:
        if self._count >= MOST:
            message = f"{MOST} users are watched already."
            metadata = {"limit": str(MOST)}
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=metadata, retry_after=_RETRY_AFTER_S)
        changed = asyncio.Event()
        self._count += 1
        self._waiting.setdefault(user_id, set()).add(changed)
        try:
            yield changed
        finally:
            self._count -= 1
            self._waiting[user_id].discard(changed)
            if not self._waiting[user_id]:
                del self._waiting[user_id]
