"""A database by URL: SQLite in a file, or PostgreSQL; opened, checked, and made where it is new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from secrets import randbits
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from services.kit.database import engine_of, snapshot, writer, writing
from services.kit.errors import FailedPrecondition, InvalidArgument, Reason, TrunklineError, Unavailable
from services.recommender.store.group_commit import GroupCommit
from services.recommender.store.schema import METADATA, VERSION, marks

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]

WAL_PAGES = 16_384
"""64 MiB: a page that is written often reaches the file once a checkpoint, not once a commit."""
READERS = 4
_WRITERS = 0x7472_6E6B_7265_636F
"""The advisory lock of PostgreSQL that writers hold."""
# Erased means erased: freed cells are overwritten.
_PRAGMAS = ("cache_size = -65536", "secure_delete = ON", f"wal_autocheckpoint = {WAL_PAGES}")


class Database:
    """An open database. Reads may run beside each other and beside the one write."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.origin = randbits(62)
        """Whose writes these are, among replicas."""
        self.dialect = cast("Dialect", engine.dialect.name)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="recommender-read")
        self._writer = GroupCommit(partial(writer, engine), translated)

    @classmethod
    def open(cls, url: str) -> Database:
        """Open `sqlite:///FILE` or `postgresql://…`; blocks. Makes the tables where there are none.

        Raises SettingsError for a URL that cannot be used, FailedPrecondition for a schema that is newer than
        this build, Unavailable where nobody answers.
        """
        engine = engine_of(url, "the URL of the recommender's database", _WRITERS, _PRAGMAS)
        try:
            with writing(engine) as connection:
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
        try:
            with snapshot(self.engine) as connection:
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
