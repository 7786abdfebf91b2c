"""A worker that says what it is told to say, dies and comes back."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server

from services.kit.server import Server
from services.kit.telemetry import Telemetry


class DoubleWorker(WorkerServiceServicer):
    """Sends its status when it is asked and whenever it is told a new one; `mute` sends nothing at all."""

    def __init__(self, instance: str, *, mute: bool = False) -> None:
        self.instance = instance
        self.mute = mute
        self.watchers = 0
        self._status = self.loaded()
        self._changed = asyncio.Event()

    def loaded(self, *models: str, draining: bool = False) -> pb.WatchStatusResponse:
        """Return the status of a worker that has `models` ready."""
        ready = [pb.ModelStatus(model=model, version="1", state="MODEL_STATE_READY") for model in models]
        return pb.WatchStatusResponse(instance_id=self.instance, models=ready, draining=draining)

    def say(self, status: pb.WatchStatusResponse) -> None:
        """Send `status` to whoever watches."""
        self._status = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def WatchStatus(
        self, request: pb.WatchStatusRequest, context: Any
    ) -> AsyncIterator[pb.WatchStatusResponse]:
        """Stream the status."""
        self.watchers += 1
        while True:
            changed = self._changed
            if not self.mute:
                yield self._status
            await changed.wait()


@asynccontextmanager
async def running(worker: DoubleWorker, port: int = 0) -> AsyncIterator[tuple[Server, int]]:
    """Run a worker; yields its server and port."""
    server = Server(f"127.0.0.1:{port}", Telemetry.disabled(), grace=0.0)
    server.add("trunkline.worker.v1.WorkerService", add_WorkerServiceServicer_to_server, worker)
    async with server:
        yield server, await server.start()
