"""Where doubles are served, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from trunkline.control.v1.control_pb2_grpc import add_ControlServiceServicer_to_server
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import (
    add_TokenizerServiceServicer_to_server,
)
from trunkline.worker.v1.worker_pb2_grpc import add_WorkerServiceServicer_to_server

from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.contract.front.controller_double import ControllerDouble
from tests.contract.front.tokenizer_double import TokenizerDouble
from tests.contract.front.worker_double import WorkerDouble


class Hosts:
    """Starts doubles, and stops them one by one or at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._servers: dict[object, Server] = {}
        self.addresses: dict[object, str] = {}

    async def start(self, servicer: object, address: str = "127.0.0.1:0") -> str:
        """Serve a double; return its address."""
        register: dict[type, tuple[str, Any]] = {
            TokenizerDouble: (
                "trunkline.tokenizer.v1.TokenizerService",
                add_TokenizerServiceServicer_to_server,
            ),
            WorkerDouble: ("trunkline.worker.v1.WorkerService", add_WorkerServiceServicer_to_server),
            ControllerDouble: ("trunkline.control.v1.ControlService", add_ControlServiceServicer_to_server),
        }
        server = Server(address, Telemetry.disabled(), grace=0)
        server.add(*register[type(servicer)], servicer)
        await self._stack.enter_async_context(server)
        self._servers[servicer] = server
        self.addresses[servicer] = f"127.0.0.1:{await server.start()}"
        return self.addresses[servicer]

    async def stop(self, servicer: object) -> None:
        """Stop a double's server as a process that is told to: its calls end with UNAVAILABLE DRAINING."""
        await self._servers.pop(servicer).stop(grace=0)

    async def kill(self, servicer: object) -> None:
        """Break a double's connections off, as a killed process does."""
        await self._servers[servicer]._server.stop(None)


@asynccontextmanager
async def hosts() -> AsyncIterator[Hosts]:
    """Yield a place to start doubles in."""
    async with AsyncExitStack() as stack:
        yield Hosts(stack)
