"""The board: one owner of the routes, whose changes are saved before anybody sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.controller.board import Board
from gateway.controller.ledger import REMEMBERED
from gateway.controller.restarts import RestartOrder
from gateway.controller.state import Saved, StateError, StateFile
from gateway.controller.table import ModelState, RouteTable
from gateway.controller.writes import TrafficShares, WorkerDrain
from services.kit.errors import Aborted, AlreadyExists, InvalidArgument, NotFound

NOW = datetime(2026, 11, 23, tzinfo=UTC)
W1, W2 = "10.0.0.1:1", "10.0.0.2:1"
M1 = ModelState("m", "1", ready=True, tokenizer_digest="d")
M2 = ModelState("m", "2", ready=True, tokenizer_digest="d")


class FullDisk(StateFile):
    """Cannot save while it is full."""

    full = False

    def save(self, saved: Saved) -> None:
        """Save, or not."""
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(saved)


@pytest.fixture
def file(tmp_path: Path) -> FullDisk:
    return FullDisk(tmp_path / "state" / "gateway.json")


@asynccontextmanager
async def running(file: StateFile) -> AsyncIterator[Board]:
    """Run a board with two workers, of which the first has version 1 and the second version 2."""
    board = Board(file, lambda: NOW)
    board.expect(W1, W1)
    board.expect(W2, W2)
    await board.revise()
    loop = asyncio.create_task(board.run())
    board.observe(W1, (M1,))
    board.observe(W2, (M2,))
    await until(board, lambda table: all(worker.reachable for worker in table.workers))
    yield board
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def until(board: Board, holds: object) -> RouteTable:
    async with asyncio.timeout(60):
        async for table in board.follow():
            if holds(table):  # type: ignore[operator]
                return table
    raise AssertionError


async def test_a_follower_sees_the_routes_at_once_and_each_change(file: FullDisk) -> None:
    async with running(file) as board:
        revision = board.table.revision
        following = board.follow()
        assert (await anext(following)).revision == revision
        board.lose(W2)
        async with asyncio.timeout(60):
            assert (await anext(following)).revision == revision + 1
        board.lose(W2)
        board.forget(W2)
        async with asyncio.timeout(60):
            table = await anext(following)
        assert [worker.address for worker in table.workers] == [W1]
        assert table.revision == revision + 2


async def test_a_worker_that_is_not_expected_is_ignored(file: FullDisk) -> None:
    async with running(file) as board:
        table = board.table
        board.observe("10.0.0.3:1", (M1,))
        board.lose("10.0.0.3:1")
        await board.revise()
        assert board.table is table


async def test_the_next_board_knows_models_revision_overrides_and_writes(file: FullDisk) -> None:
    async with running(file) as board:
        drain = WorkerDrain("d", board.table.revision, W1, drained=True)
        done = await board.write(drain)
    later = Board(file, lambda: NOW)
    assert later.table.revision > done
    later.expect(W1, W1)
    later.expect(W2, W2)
    await later.revise()
    assert later.table.revision == done + 2
    assert [(worker.reachable, worker.drained) for worker in later.table.workers] == [
        (False, True),
        (False, False),
    ]
    route = later.table.model("m")
    assert route is not None
    assert [(version.version, version.workers) for version in route.versions] == [("2", ()), ("1", ())]
    assert await later.write(drain) == done


async def test_a_write_on_another_revision_is_aborted_and_changes_nothing(file: FullDisk) -> None:
    async with running(file) as board:
        table = board.table
        with pytest.raises(Aborted) as failed:
            await board.write(WorkerDrain("d", table.revision - 1, W1, drained=True))
        assert failed.value.metadata == {"expected": str(table.revision - 1), "actual": str(table.revision)}
        assert board.table is table


async def test_the_same_id_for_another_write_is_refused(file: FullDisk) -> None:
    async with running(file) as board:
        await board.write(WorkerDrain("d", board.table.revision, W1, drained=True))
        with pytest.raises(AlreadyExists):
            await board.write(WorkerDrain("d", board.table.revision, W1, drained=False))
        with pytest.raises(AlreadyExists):
            board.has_done(RestartOrder("d", "envoy"))


async def test_a_write_that_cannot_be_saved_fails_and_is_not_seen(file: FullDisk) -> None:
    async with running(file) as board:
        table = board.table
        file.full = True
        with pytest.raises(OSError, match="No space"):
            await board.write(WorkerDrain("d", table.revision, W1, drained=True))
        assert board.table is table
        file.full = False
        assert await board.write(WorkerDrain("d", table.revision, W1, drained=True)) == table.revision + 1


async def test_routes_go_on_to_change_while_the_disk_is_full(file: FullDisk) -> None:
    async with running(file) as board:
        file.full = True
        board.lose(W2)
        await until(board, lambda table: not table.workers[1].reachable)


async def test_shares_are_set_and_taken_back(file: FullDisk) -> None:
    async with running(file) as board:
        shares = (("1", 75), ("2", 25))
        await board.write(TrafficShares("a", board.table.revision, "m", shares))
        route = board.table.model("m")
        assert route is not None
        assert [version.traffic_percent for version in route.versions] == [25, 75]
        await board.write(TrafficShares("b", board.table.revision, "m", ()))
        route = board.table.model("m")
        assert route is not None
        assert [version.traffic_percent for version in route.versions] == [100, 0]


async def test_ids_are_remembered_within_bounds(file: FullDisk) -> None:
    async with running(file) as board:
        for number in range(REMEMBERED + 1):
            await board.record(RestartOrder(str(number), "envoy"))
        assert not board.has_done(RestartOrder("0", "envoy"))
        assert board.has_done(RestartOrder("1", "envoy"))


@pytest.mark.parametrize(
    ("shares", "field"),
    [
        ((("1", 101), ("2", -1)), "shares[0].percent"),
        ((("1", 50), ("1", 50)), "shares"),
        ((("1", 50),), "shares"),
    ],
)
def test_shares_out_of_range_are_refused(shares: tuple[tuple[str, int], ...], field: str) -> None:
    with pytest.raises(InvalidArgument) as failed:
        TrafficShares("a", 1, "m", shares)
    assert failed.value.violations[0].field == field


@pytest.mark.parametrize(("request_id", "revision"), [("", 1), ("x" * 65, 1), ("a", 0)])
def test_a_write_without_an_id_or_a_revision_is_refused(request_id: str, revision: int) -> None:
    with pytest.raises(InvalidArgument):
        WorkerDrain(request_id, revision, W1, drained=True)


async def test_a_drain_of_nobody_is_not_found(file: FullDisk) -> None:
    async with running(file) as board:
        with pytest.raises(NotFound):
            await board.write(WorkerDrain("d", board.table.revision, "10.9.9.9:1", drained=True))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', "\x00"])
def test_a_file_that_is_not_ours_ends_the_process_with_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(content)
    with pytest.raises(StateError, match=r"gateway\.json.*TRUNKLINE_STATE"):
        StateFile(path).load()
