"""Port 8080 as a stranger meets it: reflection, health, and what is not served there."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_status import rpc_status
from trunkline.control.v1.control_pb2 import ListRoutesRequest
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1.inference_pb2 import GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.worker.v1.worker_pb2 import ListModelsRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from tests.e2e.harness import RunningMesh

PUBLIC = [
    "trunkline.inference.v1.InferenceService",
    "trunkline.monitor.v1.MonitorService",
    "trunkline.tokenizer.v1.TokenizerService",
]
BUF = Path(__file__).parents[2] / ".ci" / "node_modules" / ".bin" / "buf"


def details(error: grpc.aio.AioRpcError) -> Status:
    """Return the google.rpc.Status of a failed call."""
    status = rpc_status.from_call(_Finished(error))
    assert isinstance(status, Status)
    return status


class _Finished:
    """A finished call as grpc_status reads one."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailing_metadata = lambda: tuple(error.trailing_metadata())
        self.code, self.details = error.code, error.details


def reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in a failed call's ErrorInfo."""
    info = ErrorInfo()
    assert any(detail.Unpack(info) for detail in details(error).details)
    assert info.domain == "trunkline.dev"
    return info.reason


async def test_every_public_service_is_healthy_by_check_and_watch(channel: grpc.aio.Channel) -> None:
    health = HealthStub(channel)
    for service in ["", *PUBLIC]:
        answer = await health.Check(HealthCheckRequest(service=service))
        assert answer.status == HealthCheckResponse.SERVING, service
        watch = health.Watch(HealthCheckRequest(service=service))
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        watch.cancel()


async def test_an_unknown_model_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await InferenceServiceStub(channel).Generate(GenerateRequest(model="gtp-2", prompt="Hi")).read()
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(failed.value) == "MODEL_NOT_FOUND"


async def test_a_public_caller_reaches_neither_operators_nor_workers_rpcs(
    channel: grpc.aio.Channel, operator_channel: grpc.aio.Channel
) -> None:
    for call in (
        ControlServiceStub(channel).ListRoutes(ListRoutesRequest()),
        WorkerServiceStub(channel).ListModels(ListModelsRequest()),
        WorkerServiceStub(operator_channel).ListModels(ListModelsRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert reason(failed.value) == "RPC_NOT_SERVED"
    assert (await ControlServiceStub(operator_channel).ListRoutes(ListRoutesRequest())).routes.revision > 0


async def test_reflection_lists_and_describes_the_public_services(channel: grpc.aio.Channel) -> None:
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
    from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

    requests = [
        ServerReflectionRequest(list_services=""),
        ServerReflectionRequest(file_containing_symbol=PUBLIC[0]),
    ]
    call = ServerReflectionStub(channel).ServerReflectionInfo(iter(requests))
    listed, described = [answer async for answer in call]
    names = {service.name for service in listed.list_services_response.service}
    assert set(PUBLIC) <= names
    assert not any("worker" in name for name in names)
    assert described.file_descriptor_response.file_descriptor_proto


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed: `make lint` installs it")
@pytest.mark.parametrize("protocol", ["grpc", "grpcweb"])
async def test_buf_curl_calls_by_reflection(mesh: RunningMesh, protocol: str) -> None:
    assert shutil.which("node")
    method = f"http://{mesh.public}/{PUBLIC[0]}/ListModels"
    command = [str(BUF), "curl", "--protocol", protocol, "--http2-prior-knowledge", "--data", "{}", method]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["models"]) == 2


async def test_a_refusal_by_envoy_itself_says_why_and_when_to_come_back(channel: grpc.aio.Channel) -> None:
    path = "/inference.GRPCInferenceService/ModelInfer"
    call = channel.unary_unary(path)(b"", metadata=(("x-model-name", "gtp-2"),))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(failed.value) == "MODEL_NOT_FOUND"
    assert not any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details(failed.value).details)
