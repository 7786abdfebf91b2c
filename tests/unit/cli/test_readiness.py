"""When `trunkline up` says that the mesh is ready, against real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trunkline.inference.v1.inference_pb2 import ListModelsRequest, ListModelsResponse, Model, ModelVersion
from trunkline.inference.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from trunkline.worker.v1.worker_pb2 import ModelState, ModelStatus, WatchStatusRequest, WatchStatusResponse
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server

from gateway.commands.readiness import until_loaded, until_ready
from services.kit.audience import Audience, services
from services.kit.command import CommandError
from services.kit.mesh import owner
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.free_ports import free_ports

FRONT, WORKER = "trunkline.inference.v1.InferenceService", "trunkline.worker.v1.WorkerService"
ENTRIES = {"gateway", "tokenizer", "monitor"}


class Worker(WorkerServiceServicer):
    """Tells of one model, going through `states` and staying in the last."""

    def __init__(self, *states: ModelState.ValueType) -> None:
        self._states = states

    async def WatchStatus(  # noqa: N802 - the rpc's name
        self, request: WatchStatusRequest, context: Any
    ) -> AsyncIterator[WatchStatusResponse]:
        for state in self._states:
            yield WatchStatusResponse(models=[ModelStatus(model="m", state=state, message="so it is")])
        await asyncio.Event().wait()


class Front(InferenceServiceServicer):
    """Lists one model, ready on `ready` workers."""

    def __init__(self) -> None:
        self.ready = 0

    async def ListModels(  # noqa: N802 - the rpc's name
        self, request: ListModelsRequest, context: Any
    ) -> ListModelsResponse:
        version = ModelVersion(version="1", ready_workers=self.ready)
        return ListModelsResponse(models=[Model(name="m", versions=[version])])


async def test_it_shows_what_each_model_does_until_it_is_cancelled():
    shown: asyncio.Queue[tuple[str, ModelState.ValueType]] = asyncio.Queue()
    states = (ModelState.MODEL_STATE_FETCHING, ModelState.MODEL_STATE_LOADING, ModelState.MODEL_STATE_READY)
    async with worker(*states) as address, asyncio.timeout(60), asyncio.TaskGroup() as group:
        watch = group.create_task(
            until_loaded(address, lambda where, model: shown.put_nowait((where, model.state)))
        )
        assert [await shown.get() for _ in states] == [(address, state) for state in states]
        watch.cancel()


async def test_a_model_that_cannot_be_loaded_is_a_sentence():
    async with worker(ModelState.MODEL_STATE_FAILED) as address, asyncio.timeout(60):
        with pytest.raises(CommandError, match=r"could not be loaded\. m: so it is"):
            await until_loaded(address, lambda *_: None)


async def test_a_worker_that_is_not_up_yet_is_waited_for():
    port = free_ports(1)[0]
    watch = asyncio.create_task(until_loaded(f"127.0.0.1:{port}", lambda *_: None))
    async with worker(ModelState.MODEL_STATE_FAILED, port=port), asyncio.timeout(60):
        with pytest.raises(CommandError):
            await watch


async def test_a_mesh_is_ready_once_its_services_serve_and_its_models_are_on_every_worker():
    front = Front()
    async with public(front) as server, asyncio.timeout(60):
        address = f"127.0.0.1:{await server.start()}"
        ready = asyncio.create_task(until_ready(address, ENTRIES, ["m"], workers=2))
        for service in services(Audience.USER):
            await assert_waits(ready)
            server.set_serving(service, serving=True)
        front.ready = 1
        await assert_waits(ready)
        front.ready = 2
        await ready


async def test_a_service_that_runs_elsewhere_or_not_at_all_is_not_waited_for():
    front = Front()
    front.ready = 1
    async with public(front) as server, asyncio.timeout(60):
        server.set_serving(FRONT, serving=True)
        address = f"127.0.0.1:{await server.start()}"
        await until_ready(address, {owner(FRONT).parent}, ["m"], workers=1)


async def assert_waits(ready: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait([ready], timeout=0.25)
    assert not done


def public(front: Front) -> Server:
    """Return a server that says of no service yet that it serves."""
    server = Server("127.0.0.1:0", Telemetry.disabled(), grace=0)
    server.add(FRONT, add_InferenceServiceServicer_to_server, front, serving=False)
    for service in services(Audience.USER):
        server.set_serving(service, serving=False)
    return server


@asynccontextmanager
async def worker(*states: ModelState.ValueType, port: int = 0) -> AsyncIterator[str]:
    """Run a worker; gives its address."""
    async with Server(f"127.0.0.1:{port}", Telemetry.disabled(), grace=0) as server:
        server.add(WORKER, add_WorkerServiceServicer_to_server, Worker(*states))
        yield f"127.0.0.1:{await server.start()}"
