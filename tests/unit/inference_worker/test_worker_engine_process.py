"""The engine's process, played by one that is quickly there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from services.inference_worker import engine_process
from services.inference_worker.devices import Device
from services.inference_worker.engine_process import EngineProcess
from services.inference_worker.settings import EngineOptions
from services.inference_worker.wire import Generate, Output, Report, Sampling
from services.kit.errors import TrunklineError


class Diary:
    """What an engine did."""

    def __init__(self) -> None:
        self.started = self.lost = 0

    def engine_started(self, device: str) -> None:
        self.started += 1

    def engine_lost(self, device: str) -> None:
        self.lost += 1

    def engine_reported(self, device: str, report: Report) -> None:
        raise AssertionError("it is mute")


class Answer:
    """A request's mailbox."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[TrunklineError] = asyncio.get_running_loop().create_future()

    def deliver(self, output: Output) -> None:
        raise AssertionError("it is mute")

    def fail(self, error: TrunklineError) -> None:
        self.failed.set_result(error)


@pytest.fixture
async def engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[EngineProcess, Diary]]:
    monkeypatch.setattr(engine_process, "MODULE", "tests.unit.inference_worker.mute_engine")
    diary = Diary()
    engine = EngineProcess(Device("cpu", "", 1, 1), request.param, diary)
    await engine.start()
    yield engine, diary
    await engine.stop()


@pytest.mark.parametrize("engine", [EngineOptions(silence_s=0.5)], indirect=True)
async def test_an_engine_that_hangs_is_started_anew_and_its_calls_fail(engine: tuple[EngineProcess, Diary]):
    process, diary = engine
    async with asyncio.timeout(60):
        session = await process.available()
        answer, pid = Answer(), process.pid
        session.mailboxes.open(1, "m@1", answer)
        session.submit(Generate(1, "m@1", [3], Sampling(max_tokens=1), accepted=0.0))
        error = await answer.failed
        after = await process.available()
    assert (error.code, error.reason) == ("UNAVAILABLE", "ENGINE_LOST")
    assert after is not session
    assert process.pid != pid
    assert (process.restarts, diary.lost) == (1, 1)


@pytest.mark.parametrize(
    "engine", [EngineOptions(cores=(min(os.sched_getaffinity(0)),), silence_s=0.001)], indirect=True
)
async def test_it_keeps_to_its_cores_and_may_be_silent_while_it_owes_nothing(
    engine: tuple[EngineProcess, Diary],
):
    process, diary = engine
    async with asyncio.timeout(60):
        await process.available()
    assert os.sched_getaffinity(process.pid) == {min(os.sched_getaffinity(0))}
    assert (process.restarts, diary.started) == (0, 1)
