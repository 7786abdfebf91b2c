"""Workers fail: a call that had sent nothing goes elsewhere, another one says why it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import grpc
import pytest
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.worker.v1.worker_pb2 import MODEL_STATE_LOADING, GenerateRequest, GenerateResponse

from services.kit.errors import (
    Internal,
    NotFound,
    Reason,
    ResourceExhausted,
    TrunklineError,
    Unavailable,
    invalid,
)
from tests.contract.front.mesh import SETTINGS, Mesh, refusal, running_mesh
from tests.contract.front.worker_double import (
    EMBEDDER,
    WRITER,
    Script,
    Served,
    WorkerDouble,
    hangs,
    raises,
    says,
)
from tests.eventually import eventually

FULL = ResourceExhausted(Reason.QUEUE_FULL, "full", retry_after=3)
LOST = Unavailable(Reason.ENGINE_LOST, "the engine was lost", metadata={"device": "cpu"})


def first_fails(pair: Mesh, error: Exception, *before: str) -> None:
    """Let whichever worker is asked first fail, and the other one answer."""
    first, second = pair.workers
    asked: list[WorkerDouble] = []

    def take_turns(worker: WorkerDouble) -> Script:
        def script(request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
            asked.append(worker)
            return (raises(error, *before) if len(asked) == 1 else says("Oslo"))(request)

        return script

    first.script, second.script = take_turns(first), take_turns(second)


@pytest.mark.parametrize("error", [FULL, LOST, Unavailable(Reason.DRAINING, "stopping")])
async def test_a_worker_that_fails_before_its_first_token_costs_nothing(pair: Mesh, error: Exception) -> None:
    first_fails(pair, error)
    assert (await pair.generate()).text == "Oslo"
    assert sorted(len(worker.generates) for worker in pair.workers) == [1, 1]


async def test_a_model_that_was_just_unloaded_is_asked_for_elsewhere(pair: Mesh) -> None:
    first_fails(pair, NotFound(Reason.MODEL_NOT_FOUND, "unloaded"))
    assert (await pair.generate()).text == "Oslo"


async def test_after_the_first_token_nothing_is_tried_again(pair: Mesh) -> None:
    first_fails(pair, LOST, "Os")
    call = pair.stub.Generate(pb.GenerateRequest(model="writer", prompt="a"))
    assert (await call.read()).delta.text == "Os"
    error = await refusal(call.read())
    assert (error.code, error.reason) == ("UNAVAILABLE", Reason.ENGINE_LOST)
    assert error.metadata == {"device": "cpu"}
    assert error.retry_after
    assert sum(len(worker.generates) for worker in pair.workers) == 1


@pytest.mark.parametrize(
    "error", [invalid("sampling.seed", "is odd"), Internal(Reason.INTERNAL, "x", metadata={"error_id": "1"})]
)
async def test_a_refusal_that_another_worker_would_repeat_is_passed_on(
    pair: Mesh, error: TrunklineError
) -> None:
    first_fails(pair, error)
    assert (await refusal(pair.generate())).reason == error.reason
    assert sum(len(worker.generates) for worker in pair.workers) == 1


async def test_a_call_is_tried_twice_at_most(pair: Mesh) -> None:
    for worker in pair.workers:
        worker.script = raises(FULL)
    error = await refusal(pair.generate())
    assert (error.code, error.reason, error.retry_after) == ("RESOURCE_EXHAUSTED", Reason.QUEUE_FULL, 3)
    assert sum(len(worker.generates) for worker in pair.workers) == 2


async def test_without_another_worker_the_first_ones_reason_stands(mesh: Mesh) -> None:
    mesh.worker.script = raises(LOST)
    assert (await refusal(mesh.generate())).reason == Reason.ENGINE_LOST
    assert len(mesh.worker.generates) == 1


async def test_a_worker_killed_before_its_first_token_costs_nothing(pair: Mesh) -> None:
    for worker in pair.workers:
        worker.script = hangs()
    answer = asyncio.create_task(pair.generate())
    async with asyncio.timeout(60):
        await asyncio.wait(
            [
                asyncio.create_task(worker.until(lambda worker: worker.running == 1))
                for worker in pair.workers
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
    killed, other = sorted(pair.workers, key=lambda worker: -worker.running)
    other.script = says("Oslo")
    await pair.hosts.kill(killed)
    assert (await answer).text == "Oslo"


async def test_a_worker_killed_after_its_first_token_ends_the_call_with_a_reason(mesh: Mesh) -> None:
    mesh.worker.script = hangs("Os")
    call = mesh.stub.Generate(pb.GenerateRequest(model="writer", prompt="a"))
    await call.read()
    await mesh.hosts.kill(mesh.worker)
    error = await refusal(call.read())
    assert (error.code, error.reason) == ("UNAVAILABLE", Reason.WORKER_UNAVAILABLE)
    assert error.metadata == {"worker": mesh.worker.address}
    assert error.retry_after


async def test_a_stream_that_ends_without_a_finish_has_failed(mesh: Mesh) -> None:
    async def script(_request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        for _ in ():
            yield

    mesh.worker.script = script
    assert (await refusal(mesh.generate())).reason == Reason.WORKER_UNAVAILABLE


async def test_a_killed_worker_is_not_asked_again(pair: Mesh) -> None:
    killed, stays = pair.workers
    await pair.hosts.kill(killed)
    for _ in range(20):
        assert (await pair.generate()).text == "Oslo"
    assert len(killed.generates) == 0
    assert len(stays.generates) == 20


async def test_a_worker_that_comes_back_is_asked_again(mesh: Mesh) -> None:
    port = mesh.worker.address
    await mesh.hosts.kill(mesh.worker)
    assert (await refusal(mesh.generate())).reason in {Reason.MODEL_NOT_READY, Reason.WORKER_UNAVAILABLE}
    again = WorkerDouble(says("Paris"))
    await mesh.hosts.start(again, port)

    async def answers() -> bool:
        try:
            return (await mesh.generate()).text == "Paris"
        except grpc.aio.AioRpcError:
            return False

    await eventually(answers, within=60)


@pytest.mark.parametrize("state", ["draining", "loading"])
async def test_a_worker_that_is_draining_or_loading_is_not_asked(pair: Mesh, state: str) -> None:
    out, _ = pair.workers
    if state == "draining":
        await out.report(WRITER, EMBEDDER, draining=True)
    else:
        await out.report(Served(state=MODEL_STATE_LOADING), EMBEDDER)
    await eventually(lambda: passed_over(pair, out), within=60)


async def test_a_silent_worker_is_not_asked() -> None:
    """The one that reports may look silent too, now and then, to a front that gets no processor time."""
    settings = replace(SETTINGS, worker_silence=0.1)
    async with running_mesh(WorkerDouble(), WorkerDouble(), settings=settings) as pair:
        silent, stays = pair.workers
        silent.mute = True
        async with reporting(stays):
            await eventually(lambda: passed_over(pair, silent), within=60)


@asynccontextmanager
async def reporting(worker: WorkerDouble) -> AsyncIterator[None]:
    """Let a worker report now and then, as a real one does."""

    async def report() -> None:
        while True:
            await worker.report(WRITER, EMBEDDER)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(report())
    yield
    task.cancel()


async def passed_over(mesh: Mesh, worker: WorkerDouble) -> bool:
    """Tell whether the next 20 answers came from other workers, whatever was refused between them."""
    asked, answers = len(worker.generates), 0
    while answers < 20 and len(worker.generates) == asked:
        with suppress(grpc.aio.AioRpcError):
            await mesh.generate()
            answers += 1
    return answers == 20


async def test_calls_go_to_the_less_loaded_worker(pair: Mesh) -> None:
    busy, idle = pair.workers
    await busy.report(Served(outstanding=5_000), EMBEDDER)
    await idle.report(Served(outstanding=10), EMBEDDER)
    await eventually(lambda: passed_over(pair, busy), within=60)


async def test_a_front_counts_what_it_has_given_itself(pair: Mesh) -> None:
    for worker in pair.workers:
        worker.script = hangs("a")
    calls = [
        pair.stub.Generate(pb.GenerateRequest(model="writer", prompt="a", max_tokens=9)) for _ in range(10)
    ]
    for call in calls:
        await call.read()
    assert [worker.running for worker in pair.workers] == [5, 5]
    for call in calls:
        call.cancel()


async def test_a_worker_that_stalls_between_tokens_is_given_up() -> None:
    async with running_mesh(WorkerDouble(hangs("Os")), settings=replace(SETTINGS, stall_limit=0.05)) as mesh:
        error = await refusal(mesh.generate())
        assert (error.code, error.reason) == ("UNAVAILABLE", Reason.STREAM_STALLED)
        assert error.metadata == {"seconds": "0.05"}
        await mesh.worker.until(lambda worker: worker.cancelled == 1)


async def test_the_first_token_may_take_longer_than_the_stall_limit() -> None:
    async with running_mesh(WorkerDouble(hangs()), settings=replace(SETTINGS, stall_limit=0.01)) as mesh:
        call = mesh.stub.Generate(pb.GenerateRequest(model="writer", prompt="a"), timeout=0.2)
        assert (await refusal(call.read())).code == "DEADLINE_EXCEEDED"
