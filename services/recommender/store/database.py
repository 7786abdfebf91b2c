"""A database by URL: SQLite in a file, or PostgreSQL; opened, checked and made where it is new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]


class Database:
    """An open database. Reads may run beside each other and beside the one write."""

    engine: Engine
    dialect: Dialect

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Database:
        """Open `sqlite:///FILE` or `postgresql://…`; blocks. Makes the tables where there are none.

        Raises SettingsError for a URL that cannot be used, FailedPrecondition for a schema that is newer than
        this build, Unavailable where nobody answers.
        """
        raise NotImplementedError

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads in one snapshot; blocks."""
        raise NotImplementedError

    async def reading(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads in one snapshot, on a thread of the database's own."""
        raise NotImplementedError

    async def writing(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returned once it is committed; what waits is committed together.

        `work` may run twice (alone, after a neighbour in its transaction failed). Raises ResourceExhausted
        (QUEUE_FULL), Unavailable (SERVICE_UNAVAILABLE; committed or not: try again), and what `work` raises.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Finish the writes that wait and close. Idempotent."""
        raise NotImplementedError
