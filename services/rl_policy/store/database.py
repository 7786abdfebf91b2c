"""The database: SQLite (WAL, every commit on disk) or PostgreSQL, by its URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DBAPIError

from services.kit.database import engine_of, snapshot, writing
from services.kit.errors import Reason, Unavailable
from services.kit.settings import SettingsError
from services.rl_policy.store.schema import SCHEMA_VERSION, TABLES, schema_versions

WRITERS_LOCK = 0x7472756E6B706F6C
"""The advisory lock that writers hold in PostgreSQL."""
_PRAGMAS = ("cache_size = -16384",)
_URL = "The URL of the policies' database"


class Database:
    """Connections of one process. Safe to use from many threads; calls block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Database:
        """Open `sqlite:///PATH` or `postgresql://USER@HOST/NAME`, and make the tables where there are none.

        Raises SettingsError for another URL, an unusable place, or tables of another release, and Unavailable
        where the server does not answer.
        """
        database = cls(engine_of(url, _URL, WRITERS_LOCK, _PRAGMAS))
        try:
            with database.writing() as connection:
                _prepare(connection)
        except DBAPIError as error:
            database.close()
            raise unavailable() from error
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that is on disk when the block has ended.

        One writer at a time, in all processes: positions and sequences have no gaps that fill later.
        """
        with writing(self._engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection whose queries all see the same moment, whoever writes meanwhile."""
        with snapshot(self._engine) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._engine.dispose()


def unavailable() -> Unavailable:
    """Return what a caller is told when the database fails; the failure itself is for the log."""
    return Unavailable(Reason.STORE_UNAVAILABLE, "the store of episodes does not answer")


def _prepare(connection: Connection) -> None:
    TABLES.create_all(connection)
    version = connection.scalar(select(schema_versions.c.version))
    if version is None:
        connection.execute(insert(schema_versions), {"version": SCHEMA_VERSION})
    elif version != SCHEMA_VERSION:
        raise SettingsError(
            f"{_URL} names a database of schema {version}; this release knows {SCHEMA_VERSION}"
        )
