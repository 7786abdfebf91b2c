"""Histories in memory: the latest events of those who were here lately, read once, then kept up by the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.recommender.entities import History
from services.recommender.store.database import Database
from services.recommender.store.event_log import Stored


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

    def __init__(self, database: Database, limits: HistoryLimits) -> None:
        """Read misses from `database`; register `record` with the log to be kept up to date."""

    async def of(self, user_ids: Sequence[str]) -> list[History]:
        """Return each user's history, in order; empty for unknown ones. One query for all that miss."""
        raise NotImplementedError

    async def of_sessions(self, session_ids: Sequence[str]) -> list[History]:
        """Return each session's history; empty for those unknown or ended."""
        raise NotImplementedError

    def at_hand(self, user_id: str) -> History | None:
        """Return the user's history if it is in memory, else None. Synchronous, for hot paths."""
        raise NotImplementedError

    def record(self, stored: Stored) -> None:
        """Take in new events: the log's listener."""
        raise NotImplementedError

    def forget(self, user_id: str, session_ids: Sequence[str] = ()) -> int:
        """Drop what is kept of a user and sessions; return how many entries that were."""
        raise NotImplementedError

    def clear(self) -> None:
        """Drop everything; it is read again when it is wanted."""
        raise NotImplementedError

    def latest_users(self, limit: int) -> list[str]:
        """Return the users in memory with a history, the most lately used first."""
        raise NotImplementedError

    @property
    def entries(self) -> int:
        """How many users and sessions are in memory."""
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        raise NotImplementedError
