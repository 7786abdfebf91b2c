"""Every process of the mesh is killed under load; the mesh mends itself and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.control.v1.control_pb2 import ListRoutesRequest, RouteTable
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from tests.e2e.harness import RunningMesh, mesh_environment, running_mesh
from tests.e2e.load import Load, embed, generate
from tests.e2e.test_public_port import PUBLIC
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(300)

VICTIMS = {
    "tokenizer": "-m services.tokenizer",
    "worker": "-m services.inference_worker",
    "engine": "services.inference_worker.engine",
    "front": "-m gateway.front",
    "controller": "-m gateway",
    "envoy": "envoy",
    "monitor": "-m services.monitor",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A mesh with two workers, each with both models."""
    folder = tmp_path_factory.mktemp("pair")
    with running_mesh(mesh_environment(folder, workers=2), folder / "up.log") as mesh:
        yield mesh


def victim(mesh: RunningMesh, name: str) -> psutil.Process:
    """Return the process to kill."""
    words = VICTIMS[name]
    for process in mesh.processes():
        line = " ".join(process.cmdline())
        if name == "envoy" and Path(process.cmdline()[0]).name.startswith("envoy"):
            return process
        if name == "engine" and words in line:
            return process
        if line.endswith(words):
            return process
    raise AssertionError(f"the mesh has no {name}")


@dataclass(frozen=True)
class Promise:
    """Seconds until all is well again, and until a call that fails has failed."""

    back: float
    failed: float


# The figures of a machine that does nothing else, and those that no loaded one misses: a call may take 120 s.
PROMPT, PATIENT = Promise(back=10, failed=1), Promise(back=180, failed=60)


@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize(
    "promise", [PATIENT, pytest.param(PROMPT, marks=pytest.mark.soak)], ids=["patient", "prompt"]
)
async def test_a_killed_process_fails_calls_fast_and_is_back(
    pair: RunningMesh, name: str, promise: Promise
) -> None:
    load = Load(pair.public)
    async with load.running():
        await eventually(lambda: serving(pair, workers=2), within=90)
        process = victim(pair, name)
        process.kill()
        killed = time.monotonic()
        await eventually(lambda: serving(pair, workers=2), within=promise.back)
    failures = [outcome for outcome in load.failures if outcome.ended >= killed]
    # Once a first byte is out, Envoy can only reset a stream whose front is gone: gRPC calls that INTERNAL.
    cut = {"front", "controller"}
    refused = [failure for failure in failures if not (name in cut and failure.tokens)]
    assert {failure.code for failure in refused} <= {grpc.StatusCode.UNAVAILABLE}, failures
    slowest = max((failure.ended - max(failure.began, killed) for failure in failures), default=0)
    assert slowest <= promise.failed, failures
    if name in {"worker", "engine"}:
        assert not [failure for failure in failures if failure.tokens == 0], failures
    if name == "monitor":
        assert not failures


async def serving(mesh: RunningMesh, *, workers: int) -> bool:
    """Tell whether every service is healthy, every model ready on all workers, and both models answer."""
    async with (
        grpc.aio.insecure_channel(mesh.public) as public,
        grpc.aio.insecure_channel(mesh.operators) as operators,
    ):
        return await _healthy(public) and await _routed(operators, workers) and await _answering(public)


async def _healthy(channel: grpc.aio.Channel) -> bool:
    stub = HealthStub(channel)
    try:
        answers = [await stub.Check(HealthCheckRequest(service=name), timeout=10) for name in ["", *PUBLIC]]
    except grpc.aio.AioRpcError:
        return False
    return all(answer.status == HealthCheckResponse.SERVING for answer in answers)


async def _routed(channel: grpc.aio.Channel, workers: int) -> bool:
    try:
        routes: RouteTable = (
            await ControlServiceStub(channel).ListRoutes(ListRoutesRequest(), timeout=10)
        ).routes
    except grpc.aio.AioRpcError:
        return False
    versions = [version for model in routes.models for version in model.versions]
    return len(versions) == 2 and all(len(version.workers) == workers for version in versions)


async def _answering(channel: grpc.aio.Channel) -> bool:
    stub = InferenceServiceStub(channel)
    try:
        await asyncio.gather(generate(stub, [0]), embed(stub, [0]))
    except grpc.aio.AioRpcError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_up_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    environment = mesh_environment(tmp_path, TRUNKLINE_MODELS="all-minilm-l6-v2")
    with running_mesh(environment, tmp_path / "up.log") as mesh:
        processes = mesh.processes()
        assert len(processes) >= 6
        mesh.up.send_signal(number)
        status = await asyncio.to_thread(mesh.up.wait, 40)
        assert status == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 60)
        assert not alive


async def test_a_second_mesh_on_the_same_port_is_refused_with_a_sentence(mesh: RunningMesh) -> None:
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "gateway.cli", "up"],
        env=dict(mesh.environment),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert second.returncode != 0
    assert mesh.public.rpartition(":")[2] in second.stderr
    assert "Traceback" not in second.stderr
