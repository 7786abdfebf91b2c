"""What the monitor sees by itself: workers and healths, as they come, go and come back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from trunkline.monitor.v1 import monitor_pb2 as pb

from services.kit import semconv
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from services.monitor import watches
from tests.contract.monitor.double_worker import DoubleWorker, running
from tests.contract.monitor.house import House, house, reporter
from tests.free_ports import free_ports


def models(mesh: pb.Mesh) -> list[list[str]]:
    return [[model.model for model in worker.status.models] for worker in mesh.workers]


def healths(mesh: pb.Mesh) -> list[str]:
    return [pb.Health.Name(worker.health).removeprefix("HEALTH_") for worker in mesh.workers]


async def test_a_worker_that_dies_is_unreachable_and_is_seen_again_when_it_returns():
    worker = DoubleWorker("box:1")
    async with running(worker) as (server, port), house(workers=(f"127.0.0.1:{port}",)) as monitor:
        worker.say(worker.loaded("small"))
        await monitor.mesh_when(lambda mesh: healths(mesh) == ["SERVING"] and models(mesh) == [["small"]])
        worker.say(worker.loaded("small", "large"))
        await monitor.mesh_when(lambda mesh: models(mesh) == [["small", "large"]])
        await server.stop(0)
        mesh = await monitor.mesh_when(lambda mesh: healths(mesh) == ["UNREACHABLE"])
        assert models(mesh) == [["small", "large"]], "its last status stands"
        successor = DoubleWorker("box:2")
        async with running(successor, port):
            mesh = await monitor.mesh_when(
                lambda mesh: healths(mesh) == ["SERVING"] and mesh.workers[0].status.instance_id == "box:2"
            )
            assert models(mesh) == [[]]


async def test_a_worker_that_is_not_there_yet_is_a_row_without_a_status():
    [port] = free_ports(1)
    async with house(workers=(f"127.0.0.1:{port}",)) as monitor:
        mesh = await monitor.mesh_when(lambda mesh: healths(mesh) == ["UNREACHABLE"])
        assert not mesh.workers[0].HasField("status")


async def test_a_worker_that_falls_silent_is_unreachable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watches, "STATUS_STALL_S", 0.2)
    worker = DoubleWorker("box:1", mute=True)
    async with running(worker) as (_, port), house(workers=(f"127.0.0.1:{port}",)) as monitor:
        await monitor.mesh_when(lambda mesh: healths(mesh) == ["UNREACHABLE"])
        await monitor.mesh_when(lambda _: worker.watchers >= 2)
        worker.mute = False
        worker.say(worker.loaded("small"))
        await monitor.mesh_when(lambda mesh: healths(mesh) == ["SERVING"])


async def test_a_worker_that_is_known_by_its_process_has_its_address_in_the_services():
    worker = DoubleWorker("box:1")
    async with running(worker) as (_, port), house(workers=(f"127.0.0.1:{port}",)) as monitor:
        for instance in ("box:0", "box:1"):
            async with reporter(monitor.address, "inference_worker", instance) as process:
                process.meter.create_gauge(semconv.PROCESS_MEMORY_USAGE).set(5)
                await process.flush()
        mesh = await monitor.mesh_when(lambda mesh: mesh.workers[0].status.instance_id == "box:1")
        addresses = {
            each.instance: each.address for each in mesh.services if each.service == "inference_worker"
        }
        assert addresses == {"box:0": "", "box:1": f"127.0.0.1:{port}"}


async def test_a_tokenizer_is_a_row_by_its_address_and_one_with_its_process_once_it_reports():
    async with Server("127.0.0.1:0", Telemetry.disabled(), grace=0.0) as tokenizer:
        address = f"127.0.0.1:{await tokenizer.start()}"
        async with house(tokenizer=address) as monitor:
            mesh = await monitor.mesh_when(lambda mesh: serving(mesh, "tokenizer") == [("", "SERVING")])
            assert [each.address for each in mesh.services if each.service == "tokenizer"] == [address]
            tokenizer.set_serving("", False)
            await monitor.mesh_when(lambda mesh: serving(mesh, "tokenizer") == [("", "NOT_SERVING")])
            await report(monitor, "tokenizer", "box:1")
            await monitor.mesh_when(lambda mesh: serving(mesh, "tokenizer") == [("box:1", "NOT_SERVING")])
            monitor.clock.advance(3)
            await report(monitor, "tokenizer", "box:2")
            mesh = await monitor.mesh()
            assert serving(mesh, "tokenizer") == [("box:1", "UNSPECIFIED"), ("box:2", "NOT_SERVING")]
            await tokenizer.stop(0)
            await monitor.mesh_when(lambda mesh: ("box:2", "UNREACHABLE") in serving(mesh, "tokenizer"))


async def test_a_monitor_that_starts_again_has_the_picture_again():
    worker = DoubleWorker("box:1")
    [port] = free_ports(1)
    async with (
        running(worker) as (_, worker_port),
        reporter(f"127.0.0.1:{port}", "front") as process,
    ):
        worker.say(worker.loaded("small"))
        counter = process.meter.create_histogram(semconv.RPC_SERVER_CALL_DURATION, unit="s")
        for _ in range(2):
            async with house(port, workers=(f"127.0.0.1:{worker_port}",)) as monitor:
                counter.record(0.1, {semconv.RPC_METHOD: "a.B/C"})
                await process.flush()
                mesh = await monitor.mesh_when(lambda mesh: models(mesh) == [["small"]])
                assert [row.calls for row in mesh.rpcs] == [1]
                assert [each.service for each in mesh.services] == ["front", "monitor"]


async def test_a_watch_streams_whole_pictures_and_ends_with_the_server(monitor: House):
    call = monitor.stub.WatchMesh(pb.WatchMeshRequest(interval=Duration(nanos=100_000_000)))
    pictures = [await call.read() for _ in range(3)]
    moments = [each.mesh.observed_at.ToNanoseconds() for each in pictures]
    assert moments == sorted(set(moments))
    assert [[row.service for row in each.mesh.services] for each in pictures] == [["monitor"]] * 3
    stopped = asyncio.create_task(monitor.server.stop())
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await read_out(call)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopped


@pytest.mark.parametrize("interval", [Duration(), Duration(seconds=-1), Duration(seconds=61)])
async def test_an_interval_out_of_range_is_refused(monitor: House, interval: Duration):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await monitor.stub.WatchMesh(pb.WatchMeshRequest(interval=interval)).read()
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_workers_found_by_name_are_watched():
    worker = DoubleWorker("box:1")
    async with running(worker) as (_, port), house(workers=(f"dns:///127.0.0.1:{port}",)) as monitor:
        mesh = await monitor.mesh_when(lambda mesh: healths(mesh) == ["SERVING"])
        assert mesh.workers[0].address == f"127.0.0.1:{port}"


async def read_out(call: grpc.aio.UnaryStreamCall[Any, Any]) -> None:
    async with asyncio.timeout(60):
        while await call.read() is not grpc.aio.EOF:
            pass


def serving(mesh: pb.Mesh, service: str) -> list[tuple[str, str]]:
    return [
        (each.instance, pb.Health.Name(each.health).removeprefix("HEALTH_"))
        for each in mesh.services
        if each.service == service
    ]


async def report(monitor: House, service: str, instance: str) -> None:
    async with reporter(monitor.address, service, instance) as process:
        process.meter.create_gauge(semconv.PROCESS_MEMORY_USAGE).set(5)
        await process.flush()
