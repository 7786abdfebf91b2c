"""Who belongs to the mesh: names are looked up again and again, each worker is followed by its own stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.controller.board import Board
from gateway.controller.roster import Roster
from gateway.controller.state import StateFile
from gateway.controller.table import RouteTable
from services.kit.addresses import Addresses
from services.kit.channel import Channels
from services.kit.errors import Reason, Unavailable
from services.kit.telemetry import Telemetry
from tests.contract.gateway.fake_worker import FakeWorker


class Pool:
    """A name that stands for addresses that change: those of this machine's loopback, one a worker."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)

    async def __call__(self, host: str) -> list[str]:
        return self.hosts


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Board]:
    board = Board(StateFile(tmp_path / "gateway.json"), lambda: datetime.now(UTC))
    loop = asyncio.create_task(board.run())
    yield board
    loop.cancel()


async def until(board: Board, holds: Callable[[RouteTable], bool], within: float = 60) -> RouteTable:
    """Return the first table of which `holds`."""
    async with asyncio.timeout(within):
        async for table in board.follow():
            if holds(table):
                return table
    raise AssertionError


def reachable(table: RouteTable) -> list[str]:
    return [worker.address for worker in table.workers if worker.reachable]


async def test_workers_behind_a_name_come_and_go_with_its_addresses(board: Board) -> None:
    first, second = FakeWorker("w0", "m"), FakeWorker("w1", "m")
    await first.start("127.0.0.1:0")
    port = first.address.rpartition(":")[2]
    await second.start(f"127.0.0.2:{port}")
    pool = Pool("127.0.0.1")
    async with Channels(Telemetry.disabled()) as channels:
        roster = Roster(Addresses([f"dns:///pool:{port}"], pool), board, channels, interval_s=0.05)
        await roster.refresh()
        running = asyncio.create_task(roster.run())
        await until(board, lambda table: reachable(table) == [f"127.0.0.1:{port}"])
        pool.hosts = ["127.0.0.1", "127.0.0.2"]
        await until(board, lambda table: reachable(table) == [f"127.0.0.1:{port}", f"127.0.0.2:{port}"])
        pool.hosts = ["127.0.0.2"]
        table = await until(board, lambda table: len(table.workers) == 1)
        assert reachable(table) == [f"127.0.0.2:{port}"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for worker in (first, second):
        await worker.stop()


async def test_a_worker_that_falls_silent_on_an_open_stream_is_lost(board: Board) -> None:
    worker = FakeWorker("w0", "m")
    await worker.start()
    async with Channels(Telemetry.disabled()) as channels:
        roster = Roster(Addresses([worker.address], Pool("127.0.0.1")), board, channels, interval_s=60)
        await roster.refresh()
        await until(board, lambda table: bool(reachable(table)))
        worker.speaks.clear()
        await until(board, lambda table: not reachable(table), within=60)
        worker.speaks.set()
        await until(board, lambda table: bool(reachable(table)))
        await roster.close()
    await worker.stop()


async def test_engines_of_a_worker_that_is_away_cannot_be_restarted(board: Board) -> None:
    async with Channels(Telemetry.disabled()) as channels:
        roster = Roster(Addresses([], Pool()), board, channels, interval_s=60)
        with pytest.raises(Unavailable) as failed:
            await roster.restart_engines("127.0.0.1:1")
    assert failed.value.reason == Reason.WORKER_UNAVAILABLE
    assert failed.value.metadata == {"worker": "127.0.0.1:1"}
