"""Histories in memory: the latest events of those who were here lately, kept up by the log."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from time import time

from services.recommender.entities import History
from services.recommender.store.database import Database
from services.recommender.store.history_rows import read_histories, read_latest_users
from services.recommender.store.slot import EMPTY, Slot
from services.recommender.store.stored import Removed, Stored

_SESSION = "\x00"
"""Stands before the keys of sessions: no id has it."""
_LOADED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much is kept in memory."""

    entries: int = 200_000
    """Users and sessions, each counted."""
    bytes: int = 256 << 20
    events: int = 500
    """The latest events of one user that count."""
    session_ttl_s: float = 1_800.0
    """A session ends when nothing happened in it for so long; then its history is empty."""


class Histories:
    """An LRU over the log. Belongs to one event loop; the arrays that it gives are never written again."""

    def __init__(
        self, database: Database, limits: HistoryLimits, *, clock: Callable[[], float] = time
    ) -> None:
        """Read misses from `database`; register `record` with the log to be kept up to date."""
        self._database = database
        self._limits = limits
        self._clock = clock
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._bytes = 0
        self._wanted: deque[str] = deque()
        self._loading: asyncio.Task[None] | None = None

    async def of(self, user_ids: Sequence[str]) -> list[History]:
        """Return each user's history, in order; empty for unknown ones. One query for all that miss."""
        return await self._of(user_ids)

    async def of_sessions(self, session_ids: Sequence[str]) -> list[History]:
        """Return each session's history; empty for those unknown or ended."""
        found = await self._of([_SESSION + each for each in session_ids])
        since = self._clock() - self._limits.session_ttl_s
        return [each if len(each) and each.times[-1] >= since else EMPTY for each in found]

    def at_hand(self, user_id: str) -> History | None:
        """Return the user's history if it is in memory, else None. Synchronous, for hot paths."""
        slot = self._slots.get(user_id)
        if slot is None or slot.loading is not None:
            return None
        self._slots.move_to_end(user_id)
        return self._history(slot)

    def record(self, stored: Stored) -> None:
        """Take in new events: the log's listener."""
        slots = self._slots
        for event, row, sequence in zip(stored.events, stored.rows, stored.sequences, strict=True):
            slot = slots.get(event.user_id) if event.user_id else None
            if slot is not None:
                self._bytes += slot.add(sequence, row, event, stored.mode)
            slot = slots.get(_SESSION + event.session_id) if event.session_id else None
            if slot is not None:
                self._bytes += slot.add(sequence, row, event, stored.mode)
        self._evict()

    def removed(self, removed: Removed) -> None:
        """Drop the histories that events were removed from: the log's listener."""
        for user_id in removed.user_ids:
            self.forget(user_id)
        self.forget("", tuple(removed.session_ids))

    def forget(self, user_id: str, session_ids: Sequence[str] = ()) -> int:
        """Drop what is kept of a user and sessions; return how many entries that were."""
        return sum(self._drop(key) for key in (user_id, *(_SESSION + each for each in session_ids)))

    def clear(self) -> None:
        """Drop everything; it is read again when it is wanted."""
        self._slots.clear()
        self._bytes = 0

    def latest_users(self, limit: int) -> list[str]:
        """Return the users in memory with a history, the most lately used first."""
        found: list[str] = []
        for key in reversed(self._slots):
            if len(found) >= limit:
                break
            if not key.startswith(_SESSION) and self._slots[key].events:
                found.append(key)
        return found

    async def warm(self, users: int) -> None:
        """Read the histories of the users who were active last, as many as this."""
        latest = await self._database.reading(lambda connection: read_latest_users(connection, users))
        await self.of(latest[::-1])

    async def close(self) -> None:
        """End what is being read; those who wait for it are cancelled. Idempotent."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    @property
    def entries(self) -> int:
        """How many users and sessions are in memory."""
        return len(self._slots)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    async def _of(self, keys: Sequence[str]) -> list[History]:
        slots = [self._slot(key) for key in keys]
        for slot in slots:
            if slot.loading is not None:
                await asyncio.shield(slot.loading)
        return [self._history(slot) for slot in slots]

    def _slot(self, key: str) -> Slot:
        """Return the key's slot, used last; a new one is to be read."""
        slot = self._slots.get(key)
        if slot is not None:
            self._slots.move_to_end(key)
            return slot
        slot = self._slots[key] = Slot(len(key), asyncio.get_running_loop().create_future())
        self._bytes += slot.bytes
        self._wanted.append(key)
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load(), name="histories", context=Context())
        return slot

    def _history(self, slot: Slot) -> History:
        before = slot.bytes
        history = slot.history(self._limits.events)
        self._bytes += slot.bytes - before
        return history

    async def _load(self) -> None:
        """Read what is wanted, all that waits at once, until nothing is."""
        while self._wanted:
            count = min(len(self._wanted), _LOADED_AT_ONCE)
            keys = [self._wanted.popleft() for _ in range(count)]
            slots = {key: slot for key in keys if (slot := self._slots.get(key)) is not None}
            try:
                await self._read(slots)
            except Exception as error:  # noqa: BLE001 - those who wait get it
                for key, slot in slots.items():
                    self._drop(key)
                    slot.fail(error)
            self._evict()

    async def _read(self, slots: dict[str, Slot]) -> None:
        users = [key for key in slots if not key.startswith(_SESSION)]
        sessions = [key[1:] for key in slots if key.startswith(_SESSION)]
        limit = self._limits.events
        of_users, of_sessions = await self._database.reading(
            lambda connection: (
                read_histories(connection, "user_id", users, limit),
                read_histories(connection, "session_id", sessions, limit),
            )
        )
        for key, slot in slots.items():
            found = of_sessions.get(key[1:]) if key.startswith(_SESSION) else of_users.get(key)
            before = slot.bytes
            slot.load(found)
            if self._slots.get(key) is slot:
                self._bytes += slot.bytes - before

    def _drop(self, key: str) -> bool:
        slot = self._slots.pop(key, None)
        self._bytes -= slot.bytes if slot is not None else 0
        return slot is not None

    def _evict(self) -> None:
        while self._slots and (len(self._slots) > self._limits.entries or self._bytes > self._limits.bytes):
            _, slot = self._slots.popitem(last=False)
            self._bytes -= slot.bytes
