"""Users: what is known of them beside their events; and their right to take it along or to be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from services.recommender.entities import Event, User
from services.recommender.store.database import Database


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
    """Model versions that were trained with the user's events: they hold the user until they are replaced."""


@dataclass(frozen=True)
class Export:
    """A part of what is stored of a user: the user in the first part, events in all."""

    user: User | None
    events: Sequence[Event]


class Users:
    """The users' rows. Nothing of them is held in memory but a bounded cache of attributes."""

    def __init__(self, database: Database) -> None: ...

    async def upsert(self, users: Sequence[User]) -> None:
        """Write the users, whole; durable then."""
        raise NotImplementedError

    async def get(self, user_id: str) -> User:
        """Return the user. Raises NotFound (USER_NOT_FOUND) where neither attributes nor events are known."""
        raise NotImplementedError

    async def find(self, user_id: str) -> User | None:
        """Return what was upserted of the user, None where nothing was; cached."""
        raise NotImplementedError

    async def list(self, *, after: str = "", limit: int = 100) -> list[User]:
        """Return up to `limit` upserted users ordered by id, those after the id `after`."""
        raise NotImplementedError

    async def erase(self, user_id: str) -> Receipt:
        """Remove everything of the user, here and in what listens; idempotent."""
        raise NotImplementedError

    def export(self, user_id: str) -> AsyncIterator[Export]:
        """Yield all that is stored of the user. Raises NotFound (USER_NOT_FOUND)."""
        raise NotImplementedError

    async def count(self) -> int:
        """Return how many users have attributes or events."""
        raise NotImplementedError
