"""A database by URL: SQLite in a file, or PostgreSQL; opened, checked, and made where it is new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import randbits
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError

from services.kit.errors import FailedPrecondition, InvalidArgument, Reason, TrunklineError, Unavailable
from services.kit.settings import SettingsError
from services.recommender.store.group_commit import GroupCommit
from services.recommender.store.schema import METADATA, VERSION, marks

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]

BUSY_S = 60
"""How long one process waits for another one's transaction on a SQLite file; each lasts milliseconds."""
WAL_PAGES = 16_384
"""64 MiB: a page that is written often reaches the file once a checkpoint, not once a commit."""
READERS = 4
_WRITERS = 0x7472_6E6B_7265_636F
"""The advisory lock of PostgreSQL that writers hold, so that what commits later has the higher numbers."""


class Database:
    """An open database. Reads may run beside each other and beside the one write."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.origin = randbits(62)
        """Whose writes these are, among replicas."""
        self.dialect = cast("Dialect", engine.dialect.name)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="recommender-read")
        self._writer = GroupCommit(engine.connect, translated)

    @classmethod
    def open(cls, url: str) -> Database:
        """Open `sqlite:///FILE` or `postgresql://…`; blocks. Makes the tables where there are none.

        Raises SettingsError for a URL that cannot be used, FailedPrecondition for a schema that is newer than
        this build, Unavailable where nobody answers.
        """
        engine = _engine(url)
        try:
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                _prepare(connection)
        except DBAPIError as error:
            engine.dispose()
            raise translated(error) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads in one snapshot; blocks."""
        options: dict[str, Any] = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except DBAPIError as error:
            raise translated(error) from error

    async def reading(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads in one snapshot, on a thread of the database's own."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read, work)

    async def writing(
        self, work: Callable[[Connection], T], committed: Callable[[T], None] | None = None
    ) -> T:
        """Return what `work` returned once it is committed; what waits is committed together.

        `work` may run twice (alone, after a neighbour in its transaction failed). `committed` is called with
        the result in the event loop, in the order of the writes, even where the caller has gone. Raises
        ResourceExhausted (QUEUE_FULL), Unavailable (STORE_UNAVAILABLE; committed or not: try again), and what
        `work` raises.
        """
        return await self.submit(work, committed)

    def submit(
        self, work: Callable[[Connection], T], committed: Callable[[T], None] | None = None
    ) -> asyncio.Future[T]:
        """Begin what `writing` waits for; raises as it does where it refuses at once."""
        return self._writer.submit(work, committed)

    async def vacuum(self) -> None:
        """Leave nothing of what was deleted in SQLite's write-ahead log; deleted cells are zeroed already."""
        if self.dialect == "sqlite":
            await asyncio.get_running_loop().run_in_executor(self._readers, self._checkpoint)

    async def close(self) -> None:
        """Finish the writes that wait and close. Idempotent."""
        await asyncio.to_thread(self._writer.close)
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    def _checkpoint(self) -> None:
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def translated(error: DBAPIError) -> TrunklineError:
    """Return what a caller is told; the driver's own text is for the log."""
    if isinstance(error, DataError | IntegrityError):
        return InvalidArgument(Reason.FIELD_INVALID, "a value of the request cannot be stored")
    return Unavailable(Reason.STORE_UNAVAILABLE, "the recommender's database does not answer")


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("is not a URL") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return _sqlite(parsed, Path(parsed.database).expanduser())
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed)
    raise _refused("must be sqlite:///FILE or postgresql://USER@HOST/NAME")


def _sqlite(url: URL, path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(f"names a place that cannot be used: {error.strerror}") from error
    arguments = {"timeout": BUSY_S, "cached_statements": 256}
    engine = create_engine(url.set(database=str(path)), connect_args=arguments, max_overflow=-1)
    event.listen(engine, "connect", _on_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, max_overflow=-1)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _on_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # Transactions begin where `_begin_sqlite` says.
    pragmas = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536", "temp_store = MEMORY")
    # Erased means erased: freed cells are overwritten.
    for pragma in (*pragmas, "secure_delete = ON", f"wal_autocheckpoint = {WAL_PAGES}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Let a writer take its place at once: a reader that becomes one later can fail half-way."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        # Durable whatever the server's default is; the lock is held until the commit is seen by others.
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO on")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def _prepare(connection: Connection) -> None:
    METADATA.create_all(connection)
    there = dict(connection.execute(select(marks.c.name, marks.c.value)).all())
    if there.get("schema", VERSION) > VERSION:
        message = f"the database has schema {there['schema']}; this build knows {VERSION}"
        raise FailedPrecondition(Reason.STORE_UNAVAILABLE, message)
    first = {"schema": VERSION, "sequence": 0, "row": -1, "change": 0}
    missing = [{"name": name, "value": value} for name, value in first.items() if name not in there]
    if missing:
        connection.execute(insert(marks), missing)


def _refused(why: str) -> SettingsError:
    return SettingsError(f"the URL of the recommender's database {why}")
