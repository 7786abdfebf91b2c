"""A worker without an engine: says which models it has, and answers tensor-level calls by its own name."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from trunkline.inference.v1.sampling_pb2 import TASK_GENERATE
from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server

from services.kit.server import Server
from services.kit.telemetry import Telemetry

WORKER = "trunkline.worker.v1.WorkerService"
TENSORS = "inference.GRPCInferenceService"
READY, LOADING = pb.MODEL_STATE_READY, pb.MODEL_STATE_LOADING


class FakeWorker(WorkerServiceServicer):
    """Has `models` (name or `name@version`) ready. ModelInfer answers `name size cluster-header`."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        self.address = ""
        self.restarted = asyncio.Event()
        self.release = asyncio.Event()
        """Set: streams of ModelStreamInfer end."""
        self.speaks = asyncio.Event()
        """Cleared: the status stream stays open and says nothing."""
        self.speaks.set()
        self._states = dict.fromkeys(models, READY)
        self._changed = asyncio.Event()
        self._server: Server | None = None

    def have(self, ready: Iterable[str], loading: Iterable[str] = ()) -> None:
        """Say from now on that these models are ready, and those are loading."""
        self._states = {**dict.fromkeys(loading, LOADING), **dict.fromkeys(ready, READY)}
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def start(self, address: str = "127.0.0.1:0") -> None:
        """Serve at `address`."""
        self._server = Server(address, Telemetry.disabled(), grace=0)
        self._server.add(WORKER, add_WorkerServiceServicer_to_server, self)
        self._server.add(TENSORS, self._add_tensors, None)
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        """Go, as abruptly as a process may."""
        assert self._server is not None
        await self._server.stop()

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        while True:
            changed = self._changed
            await self.speaks.wait()
            yield pb.WatchStatusResponse(models=[_status(*each) for each in self._states.items()])
            try:
                async with asyncio.timeout(1):
                    await changed.wait()
            except TimeoutError:
                continue

    async def RestartEngine(self, request: Any, context: Any) -> pb.RestartEngineResponse:
        self.restarted.set()
        return pb.RestartEngineResponse()

    async def infer(self, request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        return f"{self.name} {len(request)} {metadata.get('x-trunkline-cluster', '-')}".encode()

    async def stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        yield self.name.encode()
        await self.release.wait()
        yield b"last"

    def _add_tensors(self, _servicer: object, server: Any) -> None:
        handlers = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.infer, bytes, bytes),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self.stream, bytes, bytes),
        }
        server.add_registered_method_handlers(TENSORS, handlers)


def _status(name: str, state: Any) -> pb.ModelStatus:
    model, _, version = name.partition("@")
    return pb.ModelStatus(
        model=model,
        version=version or "1",
        state=state,
        task=TASK_GENERATE,
        tokenizer_digest="d1" if state == READY else "",
        context_length=2048,
    )
