"""What each port serves, to whom, and how it refuses."""

from __future__ import annotations

import asyncio
import base64
import http.client
import struct
from collections.abc import Mapping

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from trunkline.control.v1.control_pb2 import WatchRoutesRequest
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1.inference_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GetModelRequest,
    ListModelsRequest,
)
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.tokenizer.v1.tokenizer_pb2 import ListTokenizersRequest
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from services.kit.audience import Audience, methods
from tests.contract.gateway.harness import RunningGateway, details, eventually, reason

EMBED = "/trunkline.inference.v1.InferenceService/Embed"
GET_MODEL = "/trunkline.inference.v1.InferenceService/GetModel"
INFERENCE = "trunkline.inference.v1.InferenceService"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refusal(channel: grpc.aio.Channel, path: str) -> grpc.aio.AioRpcError:
    """Return how a call of `path` with an empty message fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await channel.unary_unary(path)(b"", timeout=10)
    return failed.value


async def test_users_rpcs_are_served_on_both_ports(standing: RunningGateway) -> None:
    await eventually(lambda: standing.serves(INFERENCE), within=60)
    for channel in (standing.public, standing.operators):
        answer = await InferenceServiceStub(channel).ListModels(ListModelsRequest())
        assert [model.name for model in answer.models] == ["here"]


async def test_operators_rpcs_are_served_on_their_port_only(standing: RunningGateway) -> None:
    assert (await standing.routes()).revision > 0
    for method in methods(Audience.OPERATOR):
        error = await refusal(standing.public, method.path)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED, method
        assert reason(error) == "RPC_NOT_SERVED"


async def test_the_meshs_rpcs_are_served_on_neither_port(standing: RunningGateway) -> None:
    for method in methods(Audience.MESH):
        for channel in (standing.public, standing.operators):
            error = await refusal(channel, method.path)
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED, method
            assert reason(error) == "RPC_NOT_SERVED"


async def test_routes_are_streamed_inside_the_mesh(standing: RunningGateway) -> None:
    async with grpc.aio.insecure_channel(standing.settings.listen) as channel:
        stream = ControlServiceStub(channel).WatchRoutes(WatchRoutesRequest())
        answer = await stream.read()
        assert [route.model for route in answer.routes.models] == ["first", "second", "shared"]
        stream.cancel()


async def test_a_service_that_is_down_is_unavailable_with_a_reason_and_a_time(
    standing: RunningGateway,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await TokenizerServiceStub(standing.public).ListTokenizers(ListTokenizersRequest(), timeout=10)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(failed.value) == "SERVICE_UNAVAILABLE"
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details(failed.value).details)


async def test_a_services_own_errors_pass_through_unchanged(standing: RunningGateway) -> None:
    await eventually(lambda: standing.serves(INFERENCE), within=60)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await InferenceServiceStub(standing.public).GetModel(GetModelRequest(model="x"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(failed.value) == "MODEL_NOT_FOUND"


async def test_a_deadline_ends_a_stream(standing: RunningGateway) -> None:
    await eventually(lambda: standing.serves(INFERENCE), within=60)
    stream = InferenceServiceStub(standing.public).Generate(GenerateRequest(max_tokens=10_000), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for _ in stream:
            pass
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def web(
    address: str, path: str, message: bytes, headers: Mapping[str, str], method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Make a gRPC-Web call over HTTP/1.1; return status, headers and body."""

    def exchange() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(address, timeout=10)
        frame = struct.pack(">BI", 0, len(message)) + message
        connection.request(method, path, frame if method == "POST" else None, dict(headers))
        answer = connection.getresponse()
        found = (answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    return await asyncio.to_thread(exchange)


WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Return the frames of a gRPC-Web body: flag and content, the trailers' flag being 0x80."""
    found = []
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        found.append((flag, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


async def test_grpc_web_answers_a_unary_call_over_http_1(standing: RunningGateway) -> None:
    await eventually(lambda: standing.serves(INFERENCE), within=60)
    request = EmbedRequest(texts=["four", "fifth"]).SerializeToString()
    status, headers, body = await web(standing.settings.public, EMBED, request, WEB)
    assert status == 200
    assert headers["content-type"] == "application/grpc-web+proto"
    (_, answer), (flag, trailers) = frames(body)
    assert list(EmbedResponse.FromString(answer).embeddings[0].values) == [4.0, 5.0]
    assert flag == 0x80
    assert b"grpc-status:0" in trailers


@pytest.mark.parametrize(
    ("path", "code", "why"),
    [
        ("/trunkline.worker.v1.WorkerService/ListModels", "12", "RPC_NOT_SERVED"),
        ("/inference.GRPCInferenceService/ModelInfer", "5", "MODEL_NOT_FOUND"),
        ("/trunkline.tokenizer.v1.TokenizerService/ListTokenizers", "14", "SERVICE_UNAVAILABLE"),
    ],
)
async def test_grpc_web_learns_why_envoy_refuses(
    standing: RunningGateway, path: str, code: str, why: str
) -> None:
    status, headers, _ = await web(standing.settings.public, path, b"", WEB)
    assert (status, headers["grpc-status"]) == (200, code)
    padding = "=" * (-len(headers["grpc-status-details-bin"]) % 4)
    refused = Status.FromString(base64.b64decode(headers["grpc-status-details-bin"] + padding))
    assert str(refused.code) == code
    info = ErrorInfo()
    refused.details[0].Unpack(info)
    assert info.reason == why


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("https://evil.example", False),
        ("https://localhost.evil.example", False),
    ],
)
async def test_only_pages_of_this_machine_may_call_by_grpc_web(
    standing: RunningGateway, origin: str, allowed: bool
) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    _, headers, _ = await web(standing.settings.public, EMBED, b"", asked, method="OPTIONS")
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)


async def test_the_operators_port_does_not_speak_http_1(standing: RunningGateway) -> None:
    path = "/trunkline.control.v1.ControlService/ListRoutes"
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        await web(standing.settings.operators, path, b"", WEB)


async def test_answers_do_not_tell_what_stands_behind_them(standing: RunningGateway) -> None:
    await eventually(lambda: standing.serves(INFERENCE), within=60)
    _, headers, _ = await web(standing.settings.public, GET_MODEL, b"", WEB)
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("x-envoy")]
