"""The database: SQLite (WAL, every commit on disk) or PostgreSQL, by its URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from services.kit.errors import Reason, Unavailable
from services.kit.settings import SettingsError
from services.rl_policy.store.schema import SCHEMA_VERSION, TABLES, schema_versions

BUSY_SECONDS = 60
"""How long a process waits for another one's transaction on the same SQLite file; each lasts milliseconds."""
WRITERS_LOCK = 0x7472756E6B706F6C
"""The advisory lock that writers hold in PostgreSQL, so that what commits later has the higher numbers."""


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
        database = cls(_engine(url))
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
        with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            if not self._is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS_LOCK})
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection whose queries all see the same moment, whoever writes meanwhile."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"


def unavailable() -> Unavailable:
    """Return what a caller is told when the database fails; the failure itself is for the log."""
    return Unavailable(Reason.STORE_UNAVAILABLE, "the store of episodes does not answer")


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("is not a URL") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return _sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    raise _refused("must be sqlite:///PATH or postgresql://USER@HOST/NAME")


def _sqlite(url: URL) -> Engine:
    path = Path(url.database or "").expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(f"names a place that cannot be used: {error.strerror}") from error
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    """Transactions begin where `_on_begin` says, not where the driver guesses."""
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    """Let a writer take its place at once: a reader that becomes one later can fail half-way."""
    writes = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare(connection: Connection) -> None:
    TABLES.create_all(connection)
    version = connection.scalar(select(schema_versions.c.version))
    if version is None:
        connection.execute(insert(schema_versions), {"version": SCHEMA_VERSION})
    elif version != SCHEMA_VERSION:
        raise _refused(f"names a database of schema {version}; this release knows {SCHEMA_VERSION}")


def _refused(why: str) -> SettingsError:
    return SettingsError(f"The URL of the policies' database {why}")
