"""A watcher knows all there is to know, soon."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.worker.v1.worker_pb2 import WatchStatusRequest

from services.inference_worker.__main__ import SERVICE
from services.kit.status import from_rpc_error
from tests.contract.inference_worker.running_worker import (
    ENCODER,
    GENERATOR,
    RunningWorker,
    request,
    running_worker,
    status,
)
from tests.unit.inference_worker.tiny_models import prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_whole_state_comes_at_once_and_then_again_and_again(worker: RunningWorker):
    await worker.until_idle()
    watch = worker.stub.WatchStatus(WatchStatusRequest())
    states = []
    async with asyncio.timeout(60):
        async for state in watch:
            states.append(state)
            if len(states) == 3:
                break
    watch.cancel()
    assert {state.instance_id for state in states} == {f"{socket.gethostname()}:{os.getpid()}"}
    for state in states:
        assert [model.model for model in state.models] == [ENCODER, GENERATOR]
        (device,) = state.devices
        assert device.device == "cpu"
        assert device.engine_ready
        assert 0 < device.free_memory_bytes <= device.total_memory_bytes
        assert not state.draining


async def test_load_figures_follow_the_work(worker: RunningWorker):
    call = worker.stub.Generate(request(prompt(10), max_tokens=400, ignore_eos=True))
    await anext(aiter(call))
    state = await worker.until(lambda state: status(state, GENERATOR).load.running == 1)
    load = status(state, GENERATOR).load
    assert 0 < load.outstanding_tokens <= 410
    held = load.cache_tokens - load.free_cache_tokens
    assert held % 16 == 0, "whole blocks"
    assert 10 <= held <= 416
    call.cancel()
    await worker.until_idle()


async def test_health_says_whether_a_model_is_ready(worker: RunningWorker):
    await worker.until_ready(GENERATOR)
    answer = await HealthStub(worker.channel).Check(HealthCheckRequest(service=SERVICE))
    assert answer.status == HealthCheckResponse.SERVING


async def test_a_stopping_worker_says_so_and_ends_its_streams(tmp_path: Path):
    async with running_worker(tmp_path, models=()) as stopping:
        watch = stopping.stub.WatchStatus(WatchStatusRequest())
        events = aiter(watch)
        assert not (await anext(events)).draining
        ending = asyncio.create_task(stopping.server.stop())
        async with asyncio.timeout(60):
            state = await anext(events)
            while not state.draining:
                state = await anext(events)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await anext(events)
            await ending
        assert from_rpc_error(failed.value).reason == "DRAINING"
