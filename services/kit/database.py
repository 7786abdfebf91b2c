"""A database by its URL, SQLite in a file or PostgreSQL; its commits are on disk. Tables are the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from services.kit.settings import SettingsError

BUSY_S = 60
"""How long a process waits for another one's transaction on the same SQLite file; each lasts milliseconds."""
_DURABLE = ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY")
_WRITES = "writes"  # the option of a connection whose transactions write


def engine_of(url: str, called: str, lock: int, pragmas: Sequence[str] = ()) -> Engine:
    """Return what connects to `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    `lock` is the advisory lock that PostgreSQL's writers hold; `pragmas` are SQLite's, beside those that make
    commits durable. Raises SettingsError, which begins with what the URL is `called`.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(f"{called} is not a URL") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return _sqlite(parsed, Path(parsed.database).expanduser(), called, (*_DURABLE, *pragmas))
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed, lock)
    raise SettingsError(f"{called} must be sqlite:///FILE or postgresql://USER@HOST/NAME")


def writer(engine: Engine) -> Connection:
    """Return a connection of whose transactions one runs at a time, in all processes.

    What commits later has the higher numbers, and numbers have no gaps that fill later.
    """
    return engine.connect().execution_options(**{_WRITES: True})


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is on disk when the block has ended: see `writer`."""
    with writer(engine) as connection, connection.begin():
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose queries all see the same moment, whoever writes meanwhile."""
    level: dict[str, Any] = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**level) as connection, connection.begin():
        yield connection


def _sqlite(url: URL, path: Path, called: str, pragmas: Sequence[str]) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{called} names a place that cannot be used: {error.strerror}") from error
    arguments = {"timeout": BUSY_S, "cached_statements": 256}
    engine = create_engine(url.set(database=str(path)), connect_args=arguments, max_overflow=-1)

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # Transactions begin where `_begin_sqlite` says.
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL, lock: int) -> Engine:
    engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, max_overflow=-1)

    def begin(connection: Connection) -> None:
        if _writes(connection):
            # Durable whatever the server's default is; the lock is held until the commit is seen by others.
            connection.exec_driver_sql("SET LOCAL synchronous_commit TO on")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")

    event.listen(engine, "begin", begin)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    """Let a writer take its place at once: a reader that becomes one later can fail half-way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_WRITES, False))
