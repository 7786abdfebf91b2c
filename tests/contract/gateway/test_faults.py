"""Processes die; the gateway mends itself, fails no call that it can save, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import grpc
import psutil
import pytest
from trunkline.control.v1.control_pb2 import DrainRequest, ListRoutesRequest
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from gateway.settings import GatewaySettings
from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import (
    RunningGateway,
    environment,
    eventually,
    gateway_settings,
    process,
    reason,
    running_gateway,
)

INFERENCE = "trunkline.inference.v1.InferenceService"


async def test_envoy_killed_is_serving_again_within_two_seconds(gateway: RunningGateway) -> None:
    await eventually(lambda: gateway.serves(INFERENCE), within=60)
    before = gateway.gateway.envoy.process.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _call_until_failure(gateway)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    await gateway.until_answers("first", "w0", within=60)
    assert gateway.gateway.envoy.process.pid not in {None, before}
    await eventually(lambda: gateway.serves(INFERENCE), within=60)


async def _call_until_failure(gateway: RunningGateway) -> None:
    while True:
        await gateway.infer("first")


async def test_a_change_while_envoy_is_down_is_in_effect_when_it_is_back(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    pid = gateway.gateway.envoy.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    pair[1].have(["second", "shared", "new"])
    await gateway.until_answers("new", "w1")


async def test_a_lost_worker_leaves_the_routes_at_once_and_its_model_is_not_ready(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    await pair[0].stop()
    async with asyncio.timeout(60):
        async for table in gateway.gateway.board.follow():
            worker = table.worker(pair[0].address)
            if worker is not None and not worker.reachable:
                break
    assert {await gateway.infer("shared") for _ in range(20)} == {"w1 0 -"}
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await gateway.infer("first")
    assert reason(failed.value) == "MODEL_NOT_READY"
    await pair[0].start(pair[0].address)
    await gateway.until_answers("first", "w0", within=60)


async def test_of_two_fronts_one_killed_fails_no_call_that_may_be_repeated(
    tmp_path: Path, pair: list[FakeWorker]
) -> None:
    async with running_gateway(gateway_settings(tmp_path, [pair[0].address], fronts=2)) as gateway:
        stub = InferenceServiceStub(gateway.public)
        seen: set[str] = set()
        async with asyncio.timeout(60):
            while len(seen) < 2:
                await eventually(lambda: gateway.serves(INFERENCE), within=60)
                seen.add((await stub.Embed(EmbedRequest(texts=["a"]))).model_version)

        async def call(number: int) -> None:
            if number == 40:
                pid = gateway.gateway.fronts[0].pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            await stub.Embed(EmbedRequest(texts=["a"]))

        for batch in range(20):
            await asyncio.gather(*(call(number) for number in range(batch * 8, batch * 8 + 8)))


async def test_a_stop_lets_a_running_stream_end(tmp_path: Path, pair: list[FakeWorker]) -> None:
    async with running_gateway(gateway_settings(tmp_path, [pair[0].address])) as gateway:
        await eventually(lambda: gateway.serves(INFERENCE), within=60)
        stream = InferenceServiceStub(gateway.public).Generate(GenerateRequest(max_tokens=50))
        events = aiter(stream)
        assert (await anext(events)).delta.text
        stopping = asyncio.create_task(gateway.server.stop())
        rest = [event async for event in events]
        assert len(rest) == 50
        assert rest[-1].HasField("finish")
        await stopping


async def routed(settings: GatewaySettings, condition: Callable[[int], bool]) -> int:
    """Return the revision of the routes, once both workers are in them and `condition` holds of it."""
    async with grpc.aio.insecure_channel(settings.operators) as channel, asyncio.timeout(60):
        while True:
            try:
                routes = (await ControlServiceStub(channel).ListRoutes(ListRoutesRequest(), timeout=9)).routes
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
                continue
            if sum(worker.reachable for worker in routes.workers) == 2 and condition(routes.revision):
                return int(routes.revision)


async def test_the_controller_killed_leaves_no_process_and_comes_back_with_what_was_decided(
    tmp_path: Path, pair: list[FakeWorker]
) -> None:
    settings = gateway_settings(tmp_path, [worker.address for worker in pair])
    variables = environment(settings)
    async with process(variables) as first:
        revision = await routed(settings, lambda revision: revision > 0)
        async with grpc.aio.insecure_channel(settings.operators) as channel:
            request = DrainRequest(
                request_id="d", expected_revision=revision, worker=pair[0].address, drained=True
            )
            decided = (await ControlServiceStub(channel).Drain(request)).revision
        children = first.children(recursive=True)
        assert {"envoy", Path(sys.executable).name} <= {Path(child.cmdline()[0]).name for child in children}
        first.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, 60)
        assert not alive
    async with process(variables) as second:
        assert await routed(settings, lambda revision: revision > decided)
        async with grpc.aio.insecure_channel(settings.operators) as channel:
            again = await ControlServiceStub(channel).Drain(request)
            routes = (await ControlServiceStub(channel).ListRoutes(ListRoutesRequest())).routes
        assert again.revision == decided
        assert [worker.drained for worker in routes.workers if worker.address == pair[0].address] == [True]
        children = second.children(recursive=True)
    assert not [child for child in children if child.is_running()]


async def gateway_that_cannot_begin(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        (sys.executable, "-m", "gateway"),
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("port", ["public", "operators", "listen"])
async def test_a_second_gateway_on_a_port_is_refused_in_a_sentence(
    gateway: RunningGateway, tmp_path: Path, port: str
) -> None:
    taken = getattr(gateway.settings, port)
    settings = gateway_settings(tmp_path / "second", gateway.settings.workers, **{port: taken})
    done = await gateway_that_cannot_begin(environment(settings))
    assert done.returncode == 2
    assert taken in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_without_an_envoy_the_gateway_says_what_to_do(tmp_path: Path) -> None:
    settings = gateway_settings(tmp_path, ["127.0.0.1:1"])
    done = await gateway_that_cannot_begin({**environment(settings), "TRUNKLINE_ENVOY": "/nowhere/envoy"})
    assert done.returncode == 2
    assert "TRUNKLINE_ENVOY" in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def _read(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


async def test_a_stream_that_has_begun_is_cut_at_once_when_its_front_dies(gateway: RunningGateway) -> None:
    """Envoy can only reset a stream whose answer has begun, and gRPC reads a reset as INTERNAL."""
    await eventually(lambda: gateway.serves(INFERENCE), within=60)
    events = aiter(InferenceServiceStub(gateway.public).Generate(GenerateRequest(max_tokens=1000)))
    assert (await anext(events)).delta.text
    pid = gateway.gateway.fronts[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async with asyncio.timeout(15):  # the whole stream takes 20 s and more
            await _read(events)
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "RST_STREAM" in (failed.value.details() or "")
    await eventually(lambda: _streams_whole(gateway), within=60)


async def _streams_whole(gateway: RunningGateway) -> bool:
    """Return whether a short answer comes whole: callers know of a front's death before health does."""
    stream = InferenceServiceStub(gateway.public).Generate(GenerateRequest(max_tokens=1))
    try:
        return [event.HasField("finish") async for event in stream] == [False, True]
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
