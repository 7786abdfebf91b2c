from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from trunkline.tokenizer.v1 import tokenizer_pb2

from services.kit.channel import Channels
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import SERVICE, House, call, house, outcome

PATIENT_S = 100.0
"""A grace that no test waits for, however slow the machine."""


def health(running: House) -> Any:
    return health_pb2_grpc.HealthStub(running.channel)


async def test_health_answers_per_service(running: House):
    running.server.set_serving("other.v1.OtherService", serving=False)
    check = health(running).Check
    assert (await check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
    assert (await check(HealthCheckRequest(service=SERVICE))).status == HealthCheckResponse.SERVING
    other = await check(HealthCheckRequest(service="other.v1.OtherService"))
    assert other.status == HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    listed = await health(running).List(health_pb2.HealthListRequest())
    assert listed.statuses[SERVICE].status == HealthCheckResponse.SERVING


async def test_a_watcher_learns_of_each_change(running: House):
    watch = health(running).Watch(HealthCheckRequest(service="late.v1.LateService"))
    seen = [(await watch.read()).status]
    for serving in (True, False, True):
        running.server.set_serving("late.v1.LateService", serving)
        seen.append((await watch.read()).status)
    assert seen == [
        HealthCheckResponse.SERVICE_UNKNOWN,
        HealthCheckResponse.SERVING,
        HealthCheckResponse.NOT_SERVING,
        HealthCheckResponse.SERVING,
    ]
    watch.cancel()


async def test_a_watcher_sees_not_serving_and_the_end_when_the_server_stops():
    async with house(grace=PATIENT_S) as running:
        watch = health(running).Watch(HealthCheckRequest(service=SERVICE))
        await watch.read()
        async with asyncio.timeout(PATIENT_S / 2):
            await running.server.stop()
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        running.server.set_serving(SERVICE, serving=True)
        assert not running.server.health.is_serving(SERVICE)


async def test_calls_are_still_answered_while_health_already_says_no():
    async with house(lame_duck=PATIENT_S) as one:
        watch = health(one).Watch(HealthCheckRequest(service=SERVICE))
        await watch.read()
        stopping = asyncio.create_task(one.server.stop())
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        assert await outcome(call(one.stub, "Unary", "echo")) == ["echo"]
        assert not one.server.draining.is_set()
        one.server.hurry()
        await stopping
        assert one.server.draining.is_set()


async def test_a_server_can_describe_services_that_others_answer():
    async with Server("127.0.0.1:0", Telemetry.disabled()) as server:
        server.reflect("trunkline.tokenizer.v1.TokenizerService")
        assert tokenizer_pb2.DESCRIPTOR
        async with Channels(Telemetry.disabled()) as channels:
            names = await listed(channels.to(f"127.0.0.1:{await server.start()}"))
    assert "trunkline.tokenizer.v1.TokenizerService" in names


async def listed(channel: grpc.aio.Channel) -> set[str]:
    ask: Any = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    stream = ask()
    await stream.write(ServerReflectionRequest(list_services=""))
    names = {each.name for each in (await stream.read()).list_services_response.service}
    stream.cancel()
    return names


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_under_both_names(version: str):
    async with house(grace=PATIENT_S) as running:
        stream = await lists_and_describes(running, version)
        async with asyncio.timeout(PATIENT_S / 2):  # a stream that stays open does not hold the server
            await running.server.stop()
        stream.cancel()


async def lists_and_describes(running: House, version: str) -> Any:
    """Return a stream that stays open."""
    ask: Any = running.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    stream = ask()
    await stream.write(ServerReflectionRequest(list_services=""))
    names = {each.name for each in (await stream.read()).list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    await stream.write(ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"))
    files = (await stream.read()).file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(files[0]).package == "grpc.health.v1"
    return stream
