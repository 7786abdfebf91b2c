"""A front follows the controller, and goes on by what it knows while the controller is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.sampling_pb2 import TASK_EMBED, TASK_GENERATE
from trunkline.worker.v1.worker_pb2 import GenerateRequest, GenerateResponse

from gateway.front.front import SERVICE, Front
from services.kit.channel import Channels
from services.kit.errors import Reason
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.contract.front.controller_double import model, routes, version
from tests.contract.front.mesh import SETTINGS, Mesh, refusal, running_mesh, table
from tests.contract.front.tokenizer_double import DIGEST
from tests.contract.front.worker_double import (
    CONTEXT,
    DIMENSIONS,
    EMBEDDER,
    Served,
    WorkerDouble,
    delta,
    finish,
)


async def until_versions(mesh: Mesh, count: int) -> None:
    """Return when the front has routes with this many versions of the writer."""
    async with asyncio.timeout(60):
        while True:
            response = await mesh.stub.GetModel(pb.GetModelRequest(model="writer"))
            if len(response.model.versions) == count:
                return


async def test_traffic_is_shared_out_among_versions() -> None:
    old, new = WorkerDouble(), WorkerDouble(served=[Served(version="2"), EMBEDDER])
    async with running_mesh(old, new) as mesh:
        await mesh.controller.route(routes(model("writer", version("2", 25, new), version("1", 75, old))))
        await until_versions(mesh, 2)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(mesh.generate()) for _ in range(400)]
        counts = Counter(call.result().finish.model_version for call in calls)
        assert counts["2"] == pytest.approx(100, abs=40)
        assert counts.total() == 400
        assert (await mesh.generate(model_version="2")).finish.model_version == "2"


async def test_a_model_without_a_ready_worker_is_not_ready(mesh: Mesh) -> None:
    await mesh.controller.route(routes(model("writer", version("2", 0), version("1", 0))))
    await until_versions(mesh, 2)
    error = await refusal(mesh.generate())
    assert (error.code, error.reason) == ("UNAVAILABLE", Reason.MODEL_NOT_READY)
    assert error.retry_after


async def test_a_worker_that_joins_is_used_at_once(mesh: Mesh) -> None:
    joins = WorkerDouble(served=[Served(version="2")])
    joins.address = await mesh.hosts.start(joins)
    await mesh.controller.route(
        routes(model("writer", version("2", 100, joins), version("1", 0, mesh.worker)))
    )
    await until_versions(mesh, 2)
    assert (await mesh.generate()).finish.model_version == "2"


async def test_a_worker_that_leaves_finishes_its_call_and_is_forgotten(mesh: Mesh) -> None:
    stays = WorkerDouble()
    stays.address = await mesh.hosts.start(stays)
    go_on = asyncio.Event()

    async def script(request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        yield delta("Os")
        if request.token_ids == [97]:
            await go_on.wait()
        yield finish()

    mesh.worker.script = script
    call = mesh.stub.Generate(pb.GenerateRequest(model="writer", prompt="a"))
    await call.read()
    await mesh.controller.route(table(stays))
    async with asyncio.timeout(60):
        while not stays.generates:
            await mesh.generate()
    go_on.set()
    assert (await call.read()).HasField("finish")
    await mesh.worker.until(lambda worker: worker.watchers == 0)


async def test_the_last_routes_hold_while_the_controller_is_away(mesh: Mesh) -> None:
    await mesh.hosts.stop(mesh.controller)
    for _ in range(5):
        assert (await mesh.generate()).text == "Oslo"
    response = await HealthStub(mesh.channel).Check(HealthCheckRequest(service=SERVICE.full_name))
    assert response.status == HealthCheckResponse.SERVING


async def test_a_front_without_routes_is_not_serving_and_knows_no_model() -> None:
    telemetry = Telemetry.disabled()
    async with (
        Channels(telemetry) as channels,
        Front(SETTINGS, telemetry, channels, channels) as front,
        Server("127.0.0.1:0", telemetry) as server,
    ):
        front.register(server)
        channel = channels.to(f"127.0.0.1:{await server.start()}")
        response = await HealthStub(channel).Check(HealthCheckRequest(service=SERVICE.full_name))
        assert response.status == HealthCheckResponse.NOT_SERVING


async def test_models_are_listed_by_name_and_page(mesh: Mesh) -> None:
    first = await mesh.stub.ListModels(pb.ListModelsRequest(page_size=1))
    second = await mesh.stub.ListModels(pb.ListModelsRequest(page_token=first.next_page_token))
    assert [each.name for page in (first, second) for each in page.models] == ["embedder", "writer"]
    assert [each.task for page in (first, second) for each in page.models] == [TASK_EMBED, TASK_GENERATE]
    assert not second.next_page_token
    error = await refusal(mesh.stub.ListModels(pb.ListModelsRequest(page_token="nonsense")))
    assert [each.field for each in error.violations] == ["page_token"]


async def test_a_model_is_described_by_its_routes(mesh: Mesh) -> None:
    described = (await mesh.stub.GetModel(pb.GetModelRequest(model="writer"))).model
    assert described == pb.Model(
        name="writer",
        task=TASK_GENERATE,
        versions=[pb.ModelVersion(version="1", traffic_percent=100, ready_workers=1)],
        context_length=CONTEXT,
        dimensions=DIMENSIONS,
        tokenizer_digest=DIGEST,
    )
    assert (
        await refusal(mesh.stub.GetModel(pb.GetModelRequest(model="nobody")))
    ).reason == Reason.MODEL_NOT_FOUND
    assert (await refusal(mesh.stub.GetModel(pb.GetModelRequest()))).reason == Reason.FIELD_INVALID
