"""Group commit: what arrives while a transaction is being written is the next transaction.

One thread writes. Whoever waits for durability shares the one fsync with all others who wait, so that a
thousand callers cost as many commits as the disk makes, not a thousand. A lone caller is written at once. In
a crowd the thread lets a little gather first: a commit costs as much of the interpreter as several calls.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from services.kit.errors import Reason, ResourceExhausted, Unavailable
from services.rl_policy.store.database import Database, unavailable

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")

_LOGGER = logging.getLogger(__name__)

MAX_WAITING = 65_536
"""Writes that wait for the disk; more are refused."""
CROWD = 4
"""Writes of one transaction from which on the next one lets some gather."""
GATHER_S = 0.004
"""For how long: the commits of a crowd take a tenth of a core so, instead of half of one."""


class Writer(Protocol[T_contra, R_co]):
    """Writes items of one kind."""

    def write(self, connection: Connection, items: Sequence[T_contra]) -> Sequence[R_co]:
        """Write `items` in their order; return as many results. May be called again after a rollback."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    writer: Writer[Any, Any]
    item: Any
    done: asyncio.Future[Any]


class GroupCommit:
    """The writing thread of one process. Use as a context manager: leaving it writes what still waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._closed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def submit(self, writer: Writer[T, R], item: T) -> asyncio.Future[R]:
        """Write `item` soon; the future resolves when it is on disk. Call from an event loop.

        Items of one writer are written in the order of submission. Raises ResourceExhausted at once where too
        much waits, and Unavailable after the end; the future fails with Unavailable where the database does.
        """
        if self._closed:
            raise Unavailable(Reason.DRAINING, "the store is closing")
        if self._waiting.qsize() >= MAX_WAITING:
            raise ResourceExhausted(Reason.QUEUE_FULL, "too much waits to be written", retry_after=0.1)
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(writer, item, done))
        return done

    def _run(self) -> None:
        crowded = False
        while (first := self._waiting.get()) is not None:
            if crowded and not self._closed:
                time.sleep(GATHER_S)
            batch, last = self._rest(first)
            crowded = len(batch) >= CROWD
            self._write(batch)
            if last:
                return

    def _rest(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return everything that waits, and whether nothing can follow."""
        batch = [first]
        try:
            while (each := self._waiting.get_nowait()) is not None:
                batch.append(each)
        except queue.Empty:
            return batch, False
        return batch, True

    def _write(self, batch: Sequence[_Waiting]) -> None:
        outcomes = self._attempt(batch)
        if isinstance(outcomes, Exception):
            # One item may have spoilt it for all: alone, each gets its own outcome.
            outcomes = [self._alone(each) for each in batch]
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for each, outcome in zip(batch, outcomes, strict=True):
            loops.setdefault(each.done.get_loop(), []).append((each.done, outcome))
        for loop, settled in loops.items():
            _tell(loop, settled)

    def _attempt(self, batch: Sequence[_Waiting]) -> Sequence[Any] | Exception:
        """Return the outcomes of all in one transaction, or why there was none."""
        try:
            with self._database.writing() as connection:
                return _written(connection, batch)
        except DBAPIError:
            _LOGGER.exception("a transaction of %d writes failed", len(batch))
            return unavailable()
        except Exception as error:  # noqa: BLE001 - goes to whoever submitted; the thread must live
            return error

    def _alone(self, waiting: _Waiting) -> Any:
        outcome = self._attempt([waiting])
        return outcome if isinstance(outcome, Exception) else outcome[0]


def _written(connection: Connection, batch: Sequence[_Waiting]) -> list[Any]:
    """Write each writer's items together, the writers in the order of their first item."""
    kinds: dict[int, list[int]] = {}
    for index, each in enumerate(batch):
        kinds.setdefault(id(each.writer), []).append(index)
    outcomes: list[Any] = [None] * len(batch)
    for indices in kinds.values():
        results = batch[indices[0]].writer.write(connection, [batch[index].item for index in indices])
        for index, result in zip(indices, results, strict=True):
            outcomes[index] = result
    return outcomes


def _tell(loop: asyncio.AbstractEventLoop, settled: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    try:
        loop.call_soon_threadsafe(_settle, settled)
    except RuntimeError:
        return  # The loop has ended; what was written stays written.


def _settle(settled: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, outcome in settled:
        if done.done():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
