"""A whole gateway in this process, with a real Envoy, over fronts and workers that are doubles."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_status import rpc_status
from trunkline.control.v1.control_pb2 import ListRoutesRequest, RouteTable
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub, add_ControlServiceServicer_to_server

from gateway.controller.gateway import Gateway
from gateway.controller.places import find_places, public_services
from gateway.controller.service import SERVICE, ControlService
from gateway.envoy.process import find_binary
from gateway.envoy.run_folder import run_folder
from gateway.settings import GatewaySettings
from services.kit.channel import Channels
from services.kit.server import Server
from services.kit.telemetry import Telemetry, TelemetrySettings
from tests.contract.gateway.fake_worker import FakeWorker
from tests.free_ports import free_ports

FAKE_FRONT = (sys.executable, "-m", "tests.contract.gateway.fake_front")
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
LIMITS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that routes, and channels to its ports."""

    settings: GatewaySettings
    gateway: Gateway
    server: Server
    public: grpc.aio.Channel
    operators: grpc.aio.Channel

    async def routes(self) -> RouteTable:
        """Return the routes, asked through the operators' port."""
        answer = await ControlServiceStub(self.operators).ListRoutes(ListRoutesRequest())
        return answer.routes

    async def infer(self, model: str, *more: tuple[str, str], body: bytes = b"") -> str:
        """Call ModelInfer for `model`; return the answer: the worker's name, the size, its cluster header."""
        call = self.public.unary_unary(MODEL_INFER)
        answer: bytes = await call(body, metadata=(("x-model-name", model), *more))
        return answer.decode()

    async def serves(self, service: str = "") -> bool:
        """Return whether the public port says that `service` serves."""
        try:
            answer = await HealthStub(self.public).Check(HealthCheckRequest(service=service), timeout=10)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)

    async def until_answers(self, model: str, worker: str, within: float = 60) -> None:
        """Return when a call for `model` reaches `worker`."""

        async def reached() -> bool:
            try:
                return (await self.infer(model)).startswith(worker)
            except grpc.aio.AioRpcError:
                return False

        await eventually(reached, within=within)


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float) -> None:
    """Return when `condition` holds; raise TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - the event happens in another process
            await asyncio.sleep(0.02)


def gateway_settings(
    folder: Path, workers: Sequence[str], *, fronts: int = 1, **changed: Any
) -> GatewaySettings:
    """Return settings on free ports, without the services behind it, and no monitor."""
    public, operators, controller, tokenizer, recommender, rl_policy = free_ports(6)
    return GatewaySettings(
        **{
            "listen": f"127.0.0.1:{controller}",
            "public": f"127.0.0.1:{public}",
            "operators": f"127.0.0.1:{operators}",
            "tokenizer": f"127.0.0.1:{tokenizer}",
            "recommender": f"127.0.0.1:{recommender}",
            "rl_policy": f"127.0.0.1:{rl_policy}",
            "workers": tuple(workers),
            "front_count": fronts,
            "front_port": free_ports_in_a_row(fronts),
            "state": folder / "state",
            "telemetry": TelemetrySettings(monitor=""),
            **changed,
        }
    )


def free_ports_in_a_row(count: int) -> int:
    """Return the first of `count` ports in a row that were free on loopback a moment ago."""
    while True:
        (first,) = free_ports(1)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, front: Sequence[str] = FAKE_FRONT
) -> AsyncIterator[RunningGateway]:
    """Run a gateway as `python -m gateway` does, until the context ends."""
    places = await find_places(settings)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(run_folder())
        channels = await stack.enter_async_context(Channels(Telemetry.disabled()))
        server = Server(settings.listen, Telemetry.disabled())
        gateway = Gateway(
            settings,
            places,
            binary=find_binary(""),
            folder=folder,
            channels=channels,
            set_serving=server.set_serving,
            front=front,
        )
        server.add(
            SERVICE, add_ControlServiceServicer_to_server, ControlService(gateway.board, gateway.restarts)
        )
        server.reflect(*public_services(places))
        server.on_stop(gateway.stop)
        await stack.enter_async_context(gateway.running())
        await stack.enter_async_context(server)
        await server.start()
        dialled = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=LIMITS))
            for address in (settings.public, settings.operators)
        ]
        yield RunningGateway(settings, gateway, server, *dialled)


def environment(settings: GatewaySettings) -> dict[str, str]:
    """Return the environment in which `python -m gateway` has these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))}
    return {
        **kept,
        "TRUNKLINE_LISTEN": settings.listen,
        "TRUNKLINE_PUBLIC": settings.public,
        "TRUNKLINE_OPERATORS": settings.operators,
        "TRUNKLINE_TOKENIZER": settings.tokenizer,
        "TRUNKLINE_RECOMMENDER": settings.recommender,
        "TRUNKLINE_RL_POLICY": settings.rl_policy,
        "TRUNKLINE_WORKERS": ",".join(settings.workers),
        "TRUNKLINE_FRONT_PORT": str(settings.front_port),
        "TRUNKLINE_STATE": str(settings.state),
        "TRUNKLINE_MONITOR": "",
    }


@asynccontextmanager
async def process(variables: Mapping[str, str]) -> AsyncIterator[psutil.Process]:
    """Run `python -m gateway` as a process of its own; end it, if it has not ended, as Ctrl-C would."""
    command = (sys.executable, "-m", "gateway")
    running = await asyncio.create_subprocess_exec(*command, env=dict(variables), start_new_session=True)
    try:
        yield psutil.Process(running.pid)
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            await running.wait()


@asynccontextmanager
async def workers(*having: tuple[str, ...]) -> AsyncIterator[list[FakeWorker]]:
    """Run a worker called w0, w1, … for each tuple of models."""
    async with AsyncExitStack() as stack:
        found = [FakeWorker(f"w{number}", *models) for number, models in enumerate(having)]
        for each in found:
            await each.start()
            stack.push_async_callback(each.stop)
        yield found


def details(error: grpc.aio.AioRpcError) -> Status:
    """Return the google.rpc.Status of a failed call."""
    status = rpc_status.from_call(_Finished(error))
    assert isinstance(status, Status)
    return status


def reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in a failed call's ErrorInfo."""
    info = ErrorInfo()
    assert any(detail.Unpack(info) for detail in details(error).details)
    assert info.domain == "trunkline.dev"
    return info.reason


class _Finished:
    """A finished call as grpc_status reads one."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailing_metadata = lambda: tuple(error.trailing_metadata())
        self.code, self.details = error.code, error.details
