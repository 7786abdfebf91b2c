"""The one owner of the routes: takes in what workers say and operators want, saves it, tells who follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import datetime

from gateway.controller.ledger import Entry, Ledger, digest
from gateway.controller.routing import derive
from gateway.controller.state import Saved, StateFile
from gateway.controller.table import ModelState, Overrides, RouteTable, WorkerState
from gateway.controller.writes import Order, Write
from services.kit.errors import Aborted, Reason

_LOGGER = logging.getLogger(__name__)


class Board:
    """The routes. `expect` to `forget` come from watchers, `write` from operators, `follow` is for all.

    `run` must be running. A change is on disk before anybody sees it.
    """

    def __init__(self, file: StateFile, clock: Callable[[], datetime]) -> None:
        saved = file.load()
        self._file = file
        self._clock = clock
        self._known: dict[str, tuple[ModelState, ...]] = dict(saved.models)
        self._workers: dict[str, WorkerState] = {}
        self._overrides = saved.overrides
        self._ledger = Ledger(saved.writes)
        # A restart is a change too: who saw the last table must not take this one for the same.
        self._table = RouteTable(saved.revision + 1, (), (), clock())
        self._stale = asyncio.Event()
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def table(self) -> RouteTable:
        """The routes now."""
        return self._table

    def expect(self, address: str, endpoint: str) -> None:
        """Take in that a worker is to be at `address`: it counts, with the models it had, as not reachable.

        `endpoint` is where Envoy dials it; a worker that is known already only moves there.
        """
        known = self._workers.get(address) or WorkerState(address, "", models=self._known.get(address, ()))
        self._put(replace(known, endpoint=endpoint))

    def observe(self, address: str, models: tuple[ModelState, ...], *, draining: bool = False) -> None:
        """Take in what the worker at `address` says of itself; one that is not expected is ignored."""
        known = self._workers.get(address)
        if known is not None:
            self._put(replace(known, reachable=True, draining=draining, models=models))

    def lose(self, address: str) -> None:
        """Take in that the worker's status stream has broken: it takes no calls until it is back."""
        known = self._workers.get(address)
        if known is not None:
            self._put(replace(known, reachable=False))

    def forget(self, address: str) -> None:
        """Take in that the worker no longer belongs to the mesh."""
        if self._workers.pop(address, None) is not None:
            self._stale.set()

    async def write(self, write: Write) -> int:
        """Do what an operator wants and return the revision that holds it; the first outcome for a retry.

        Raises AlreadyExists (REQUEST_ID_REUSED), Aborted (REVISION_MISMATCH) and what `write.apply` raises.
        """
        async with self._writing:
            content = digest(write)
            done = self._ledger.outcome(write.request_id, content)
            if done is not None:
                return done
            if write.expected_revision != self._table.revision:
                raise _mismatch(write.expected_revision, self._table.revision)
            overrides = write.apply(self._overrides, self._table)
            table = derive(self._workers.values(), overrides, self._table, self._clock())
            ledger = self._ledger.with_entry(Entry(write.request_id, content, table.revision))
            await self._save(table, overrides, ledger)
            self._overrides, self._ledger = overrides, ledger
            self._publish(table)
            return table.revision

    def has_done(self, order: Order) -> bool:
        """Return whether `order` was recorded; raises AlreadyExists (REQUEST_ID_REUSED)."""
        return self._ledger.outcome(order.request_id, digest(order)) is not None

    async def record(self, order: Order) -> None:
        """Remember that `order`, which changes no routes, was done. Raises OSError."""
        async with self._writing:
            entry = Entry(order.request_id, digest(order), self._table.revision)
            ledger = self._ledger.with_entry(entry)
            await self._save(self._table, self._overrides, ledger)
            self._ledger = ledger

    async def follow(self) -> AsyncGenerator[RouteTable, None]:
        """Yield the routes at once and after each change; a slow follower skips what it has missed."""
        last = 0
        while True:
            changed = self._changed
            if self._table.revision != last:
                last = self._table.revision
                yield self._table
            else:
                await changed.wait()

    async def run(self) -> None:
        """Turn what watchers say into routes until cancelled."""
        while True:
            await self._stale.wait()
            await self.revise()

    async def revise(self) -> None:
        """Turn what watchers have said so far into routes."""
        async with self._writing:
            self._stale.clear()
            table = derive(self._workers.values(), self._overrides, self._table, self._clock())
            if table is self._table:
                return
            try:
                await self._save(table, self._overrides, self._ledger)
            except OSError:
                # Calls must find workers even while the disk is full; only operators' writes must be saved.
                _LOGGER.exception("the routes cannot be saved")
            self._publish(table)

    async def _save(self, table: RouteTable, overrides: Overrides, ledger: Ledger) -> None:
        models = {address: worker.models for address, worker in self._workers.items()}
        saved = Saved(table.revision, overrides, tuple(ledger), models)
        await asyncio.to_thread(self._file.save, saved)

    def _put(self, worker: WorkerState) -> None:
        if self._workers.get(worker.address) != worker:
            self._workers[worker.address] = worker
            self._stale.set()

    def _publish(self, table: RouteTable) -> None:
        self._table = table
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _mismatch(expected: int, actual: int) -> Aborted:
    return Aborted(
        Reason.REVISION_MISMATCH,
        f"the routes are at revision {actual}, not {expected}: read them again, then decide again",
        metadata={"expected": str(expected), "actual": str(actual)},
    )
