"""Health and reflection on the public port, which the controller answers for all."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from tests.contract.gateway.harness import (
    RunningGateway,
    environment,
    eventually,
    gateway_settings,
    process,
)

INFERENCE = "trunkline.inference.v1.InferenceService"
TOKENIZER = "trunkline.tokenizer.v1.TokenizerService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def test_each_public_service_is_as_healthy_as_its_owner(gateway: RunningGateway) -> None:
    await eventually(lambda: gateway.serves(INFERENCE), within=60)
    assert await gateway.serves()
    assert not await gateway.serves(TOKENIZER)


async def test_a_watch_sees_an_owner_die_within_a_second_and_come_back(gateway: RunningGateway) -> None:
    await eventually(lambda: gateway.serves(INFERENCE), within=60)
    watches = [HealthStub(gateway.public).Watch(HealthCheckRequest(service=each)) for each in (INFERENCE, "")]
    assert [(await watch.read()).status for watch in watches] == [SERVING, SERVING]
    front = gateway.gateway.fronts[0]
    assert front.pid is not None
    os.kill(front.pid, signal.SIGKILL)
    killed = time.monotonic()
    async with asyncio.timeout(60):
        assert [(await watch.read()).status for watch in watches] == [NOT_SERVING, NOT_SERVING]
        assert time.monotonic() - killed < 1
        assert [(await watch.read()).status for watch in watches] == [SERVING, SERVING]
    for watch in watches:
        watch.cancel()


async def reflect(
    channel: grpc.aio.Channel, package: str, *requests: ServerReflectionRequest
) -> list[ServerReflectionResponse]:
    """Return the answers of a version of the reflection service: they differ in their package's name only."""
    call = channel.stream_stream(
        f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    return [answer async for answer in call(iter(requests), timeout=10)]


async def test_reflection_in_both_versions_lists_and_describes_what_is_public(tmp_path: Path) -> None:
    settings = gateway_settings(tmp_path, ["127.0.0.1:1"])
    # A process of its own: this one has imported more than the gateway does.
    async with process(environment(settings)), grpc.aio.insecure_channel(settings.public) as channel:
        await channel.channel_ready()
        for package in ("v1alpha", "v1"):
            listed, *described = await reflect(
                channel,
                package,
                ServerReflectionRequest(list_services=""),
                *(ServerReflectionRequest(file_containing_symbol=each) for each in (TOKENIZER, INFERENCE)),
            )
            names = {service.name for service in listed.list_services_response.service}
            assert {INFERENCE, TOKENIZER} <= names
            assert not any("worker" in name for name in names)
            found = [each.file_descriptor_response.file_descriptor_proto[0] for each in described]
            files = [FileDescriptorProto.FromString(each) for each in found]
            assert [file.service[0].name for file in files] == ["TokenizerService", "InferenceService"]
