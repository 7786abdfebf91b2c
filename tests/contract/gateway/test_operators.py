"""What operators do through their port: share traffic, drain workers, restart processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from trunkline.control.v1.control_pb2 import (
    DrainRequest,
    RestartRequest,
    RouteTable,
    SetTrafficRequest,
    VersionShare,
)
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub

from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import (
    RunningGateway,
    eventually,
    gateway_settings,
    reason,
    running_gateway,
    workers,
)

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
INFERENCE = "trunkline.inference.v1.InferenceService"


def control(gateway: RunningGateway) -> ControlServiceStub:
    return ControlServiceStub(gateway.operators)


async def drain(gateway: RunningGateway, worker: str, request_id: str = "d", *, drained: bool = True) -> int:
    """Drain `worker` on the routes as they are, and return when Envoy does so; return the revision."""
    request = DrainRequest(
        request_id=request_id,
        expected_revision=(await gateway.routes()).revision,
        worker=worker,
        drained=drained,
    )
    revision: int = (await control(gateway).Drain(request)).revision
    await eventually(lambda: _shown(gateway, revision), within=60)
    return revision


async def _shown(gateway: RunningGateway, revision: int) -> bool:
    return gateway.gateway.publisher.shown >= revision


def shares(table: RouteTable, model: str) -> dict[str, int]:
    """Return the shares of a model's versions."""
    return {
        version.version: version.traffic_percent
        for route in table.models
        for version in route.versions
        if route.model == model
    }


async def test_a_drained_worker_gets_no_new_calls_and_ends_its_running_ones(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    streams = [
        gateway.public.stream_stream(STREAM)(iter([b""]), metadata=(("x-model-name", "shared"),))
        for _ in range(8)
    ]
    assert {await stream.read() for stream in streams} == {b"w0", b"w1"}
    await drain(gateway, pair[0].address)
    assert {await gateway.infer("shared") for _ in range(20)} == {"w1 0 -"}
    for worker in pair:
        worker.release.set()
    assert [await stream.read() for stream in streams] == [b"last"] * 8
    await drain(gateway, pair[0].address, "back", drained=False)
    await gateway.until_answers("shared", "w0")


async def test_a_write_on_routes_that_have_changed_is_aborted(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    old = (await gateway.routes()).revision
    await drain(gateway, pair[0].address)
    request = DrainRequest(request_id="late", expected_revision=old, worker=pair[1].address, drained=True)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await control(gateway).Drain(request)
    assert failed.value.code() is grpc.StatusCode.ABORTED
    assert reason(failed.value) == "REVISION_MISMATCH"


async def test_a_request_id_gives_the_first_outcome_again_and_stands_for_nothing_else(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    request = DrainRequest(
        request_id="once",
        expected_revision=(await gateway.routes()).revision,
        worker=pair[0].address,
        drained=True,
    )
    first = await control(gateway).Drain(request)
    assert await control(gateway).Drain(request) == first
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await control(gateway).Restart(RestartRequest(request_id="once", target="envoy"))
    assert failed.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason(failed.value) == "REQUEST_ID_REUSED"


async def test_traffic_goes_to_the_newest_ready_version_or_as_an_operator_shares_it(tmp_path: Path) -> None:
    async with workers(("m@1",), ("m@2",)) as pair:
        settings = gateway_settings(tmp_path, [worker.address for worker in pair])
        async with running_gateway(settings) as gateway:
            await gateway.until_answers("m", "w1")
            assert shares(await gateway.routes(), "m") == {"2": 100, "1": 0}
            request = SetTrafficRequest(
                request_id="canary",
                expected_revision=(await gateway.routes()).revision,
                model="m",
                shares=[VersionShare(version="1", percent=80), VersionShare(version="2", percent=20)],
            )
            revision = (await control(gateway).SetTraffic(request)).revision
            assert revision == (await gateway.routes()).revision
            assert shares(await gateway.routes(), "m") == {"2": 20, "1": 80}
            await gateway.until_answers("m", "w0")
            answers = [await gateway.infer("m") for _ in range(100)]
            assert 10 <= answers.count("w1 0 -") <= 30


@pytest.mark.parametrize(
    ("model", "versions", "code", "why"),
    [
        ("nowhere", {}, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("first", {"9": 100}, grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"),
        ("first", {"1": 99}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ("", {"1": 100}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    ],
)
async def test_shares_that_make_no_sense_are_refused(
    gateway: RunningGateway, model: str, versions: dict[str, int], code: grpc.StatusCode, why: str
) -> None:
    request = SetTrafficRequest(
        request_id="odd",
        expected_revision=(await gateway.routes()).revision,
        model=model,
        shares=[VersionShare(version=name, percent=percent) for name, percent in versions.items()],
    )
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await control(gateway).SetTraffic(request)
    assert (failed.value.code(), reason(failed.value)) == (code, why)


async def test_what_operators_decided_outlives_the_gateway(tmp_path: Path, pair: list[FakeWorker]) -> None:
    settings = gateway_settings(tmp_path, [worker.address for worker in pair])
    async with running_gateway(settings) as gateway:
        await gateway.until_answers("shared", "w0")
        revision = await drain(gateway, pair[0].address)
    async with running_gateway(settings) as gateway:
        await gateway.until_answers("shared", "w1")
        table = await gateway.routes()
        assert table.revision > revision
        assert [worker.drained for worker in table.workers if worker.address == pair[0].address] == [True]


async def test_envoy_restarts_on_an_order_that_came_through_it(gateway: RunningGateway) -> None:
    before = gateway.gateway.envoy.process.pid
    await control(gateway).Restart(RestartRequest(request_id="r", target="envoy"))
    await eventually(lambda: _changed(lambda: gateway.gateway.envoy.process.pid, before), within=60)
    await gateway.until_answers("first", "w0")


async def test_a_front_and_a_workers_engines_restart_on_an_order(
    gateway: RunningGateway, pair: list[FakeWorker]
) -> None:
    await eventually(lambda: gateway.serves(INFERENCE), within=60)
    before = gateway.gateway.fronts[0].pid
    await control(gateway).Restart(RestartRequest(request_id="f", target="front/0"))
    await eventually(lambda: _changed(lambda: gateway.gateway.fronts[0].pid, before), within=60)
    await control(gateway).Restart(RestartRequest(request_id="e", target=f"engine/{pair[1].address}"))
    async with asyncio.timeout(60):
        await pair[1].restarted.wait()
    assert not pair[0].restarted.is_set()


async def _changed(pid: object, before: int | None) -> bool:
    now = pid()  # type: ignore[operator]
    return now is not None and now != before


@pytest.mark.parametrize("target", ["front/9", "engine/127.0.0.1:1", "monitor"])
async def test_a_process_that_is_not_the_gateways_is_not_found(gateway: RunningGateway, target: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await control(gateway).Restart(RestartRequest(request_id="r", target=target))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(failed.value) == "PROCESS_NOT_FOUND"
