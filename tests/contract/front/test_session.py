"""One stream carries all calls to a worker: what that changes for a call, and what it does not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import grpc
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.worker.v1.worker_pb2 import GenerateRequest, GenerateResponse

from services.kit.errors import Reason, Unavailable
from tests.contract.front.frozen import freezer
from tests.contract.front.mesh import Mesh, refusal, running_mesh, table
from tests.contract.front.worker_double import Script, WorkerDouble, delta, finish, hangs, says
from tests.eventually import eventually

REQUEST = pb.GenerateRequest(model="writer", prompt="a")


async def test_concurrent_calls_share_one_stream(mesh: Mesh) -> None:
    answers = [mesh.generate() for _ in range(20)] + [mesh.generate(logprobs=1) for _ in range(20)]
    embeds = [mesh.embed("x" * length) for length in range(1, 21)]
    texts = [answer.text for answer in await asyncio.gather(*answers)]
    assert texts == ["Oslo"] * 40
    firsts = [response.embeddings[0].values[0] for response in await asyncio.gather(*embeds)]
    assert firsts == list(range(1, 21))
    assert mesh.worker.sessions == 1


async def test_one_failure_is_one_calls(mesh: Mesh) -> None:
    odd = "fail"

    async def script(request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        yield delta("Os")
        if bytes(request.token_ids).decode() == odd:
            raise Unavailable(Reason.ENGINE_LOST, "gone")
        yield delta("lo")
        yield finish(1, 4)

    mesh.worker.script = script
    good, bad = [mesh.generate("fine") for _ in range(8)], [mesh.generate(odd) for _ in range(8)]
    outcomes = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert [getattr(each, "text", "") for each in outcomes[:8]] == ["Oslo"] * 8
    assert all(isinstance(each, grpc.aio.AioRpcError) for each in outcomes[8:])
    assert mesh.worker.sessions == 1


async def test_a_stream_that_broke_is_opened_again_by_the_next_call(mesh: Mesh) -> None:
    address = mesh.worker.address
    await mesh.generate()
    await mesh.hosts.kill(mesh.worker)
    again = WorkerDouble(says("Paris"))
    await mesh.hosts.start(again, address)

    async def answers() -> bool:
        try:
            return (await mesh.generate()).text == "Paris"
        except grpc.aio.AioRpcError:
            return False

    await eventually(answers, within=60)
    assert again.sessions == 1


async def test_a_worker_that_stops_hands_its_waiting_calls_to_another(pair: Mesh) -> None:
    for worker in pair.workers:
        worker.script = hangs()
    call = pair.stub.Generate(REQUEST)
    stops, stays = await _asked(pair)
    stays.script = says("Oslo")
    await pair.hosts.stop(stops)
    assert (await call.read()).delta.text


async def test_a_frozen_worker_costs_nothing_before_the_first_token_and_ends_a_call_after_it() -> None:
    async with running_mesh(WorkerDouble(), WorkerDouble()) as mesh, freezer(mesh.workers[0].address) as ice:
        frozen, well = mesh.workers
        frozen.address = ice.address
        await mesh.controller.route(table(frozen, well))
        await eventually(lambda: shared(mesh), within=60)
        begun = await _calls(mesh, hangs("Os"), 8)
        with_frozen = frozen.running
        assert all(await asyncio.gather(*(call.read() for call in begun)))
        waiting = await _calls(mesh, hangs(), 8)
        waiting_there, elsewhere = frozen.running - with_frozen, len(well.generates)
        assert with_frozen
        assert waiting_there
        well.script = says("Oslo")
        ice.freeze()
        ended = await _first(with_frozen, [refusal(call.read()) for call in begun])
        assert {error.reason for error in ended} == {Reason.WORKER_UNAVAILABLE}
        assert all(await _first(waiting_there, [call.read() for call in waiting]))
        assert len(well.generates) == elsewhere + waiting_there


async def shared(mesh: Mesh) -> bool:
    """Tell whether calls go to both workers."""
    before = [len(worker.generates) for worker in mesh.workers]
    await asyncio.gather(*(mesh.generate() for _ in range(8)))
    return all(len(worker.generates) > count for worker, count in zip(mesh.workers, before, strict=True))


async def _calls(mesh: Mesh, script: Script, count: int) -> list[Any]:
    """Return `count` calls that the workers answer by `script`, once they all run."""
    for worker in mesh.workers:
        worker.script = script
    wanted = count + sum(worker.running for worker in mesh.workers)
    calls = [mesh.stub.Generate(REQUEST) for _ in range(count)]

    async def run() -> bool:
        return sum(worker.running for worker in mesh.workers) == wanted

    await eventually(run, within=60)
    return calls


async def _first(count: int, works: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return what the first `count` of `works` return; the others are left."""
    tasks = [asyncio.create_task(work) for work in works]
    done = [await each for each in itertools.islice(asyncio.as_completed(tasks, timeout=60), count)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


async def _asked(mesh: Mesh) -> tuple[WorkerDouble, WorkerDouble]:
    """Return the worker that was asked first, and the other one."""

    async def running() -> bool:
        return any(worker.running for worker in mesh.workers)

    await eventually(running, within=60)
    first, second = sorted(mesh.workers, key=lambda worker: -worker.running)
    return first, second
