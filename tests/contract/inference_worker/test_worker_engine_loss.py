"""An engine that dies takes its calls with it, at once, and is back by itself."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.worker.v1.worker_pb2 import EmbedRequest, RestartEngineRequest

from services.inference_worker.__main__ import SERVICE
from services.kit.status import from_rpc_error
from tests.contract.inference_worker.running_worker import (
    ENCODER,
    GENERATOR,
    RunningWorker,
    failure,
    generate,
    request,
)
from tests.unit.inference_worker.tiny_models import prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_calls_fail_at_once_and_the_same_models_are_back_without_help(worker: RunningWorker):
    state = await worker.until_ready(GENERATOR, ENCODER)
    engine = state.devices[0]
    calls = [worker.stub.Generate(request(prompt(5), max_tokens=400, ignore_eos=True)) for _ in range(4)]
    large = EmbedRequest(model=ENCODER, inputs=[TokenIds(ids=prompt(500, n)) for n in range(300)])
    failures = [asyncio.create_task(failure(call)) for call in (*calls, worker.stub.Embed(large))]
    await worker.until(lambda state: sum(model.load.running for model in state.models) == 5, within=60)
    health = HealthStub(worker.channel).Watch(HealthCheckRequest(service=SERVICE))
    seen = [(await anext(aiter(health))).status]
    os.kill(engine.engine_pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        errors = await asyncio.gather(*failures)
    assert {(error.code, error.reason) for error in errors} == {("UNAVAILABLE", "ENGINE_LOST")}
    assert all(error.metadata == {"device": "cpu"} for error in errors)
    try:
        await generate(worker, request(prompt(5)))
    except grpc.aio.AioRpcError as error:  # unless the engine is back already
        refused = from_rpc_error(error)
        assert (refused.code, refused.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")
    back = await worker.until_ready(GENERATOR, ENCODER, within=60)
    assert back.devices[0].engine_pid != engine.engine_pid
    assert back.devices[0].engine_restarts == engine.engine_restarts + 1
    await generate(worker, request(prompt(5)))
    while len(seen) < 3:
        seen.append((await anext(aiter(health))).status)
    health.cancel()
    assert seen == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING, HealthCheckResponse.SERVING]


async def test_an_engine_starts_anew_after_its_running_calls(worker: RunningWorker):
    before = (await worker.until_ready(GENERATOR, ENCODER)).devices[0]
    running = asyncio.create_task(generate(worker, request(prompt(5), max_tokens=300, ignore_eos=True)))
    await worker.until(lambda state: any(model.load.running for model in state.models), within=60)
    restarting = asyncio.ensure_future(worker.stub.RestartEngine(RestartEngineRequest(device="cpu")))
    made, _ = await running
    assert len(made) == 300
    await restarting
    assert not psutil.pid_exists(before.engine_pid)
    after = (await worker.until_ready(GENERATOR, ENCODER, within=60)).devices[0]
    assert after.engine_restarts == before.engine_restarts + 1


async def test_only_an_engine_that_is_there_starts_anew(worker: RunningWorker):
    error = await failure(worker.stub.RestartEngine(RestartEngineRequest(device="cuda:9")))
    assert error.reason == "DEVICE_NOT_FOUND"
