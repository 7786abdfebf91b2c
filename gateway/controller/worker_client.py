"""A worker as the controller follows it: its stream of states, and its engines' restart."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC

import grpc
from trunkline.inference.v1 import sampling_pb2
from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from gateway.controller.table import ModelState, Task
from services.kit.errors import Reason, TrunklineError, Unavailable
from services.kit.status import from_rpc_error

_TASKS = {sampling_pb2.TASK_GENERATE: Task.GENERATE, sampling_pb2.TASK_EMBED: Task.EMBED}


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of itself, as far as routes depend on it."""

    models: tuple[ModelState, ...]
    draining: bool


class WorkerClient:
    """Calls the worker at `address`."""

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self._address = address
        self._stub = WorkerServiceStub(channel)

    async def watch(self) -> AsyncGenerator[WorkerReport, None]:
        """Yield reports, one a second at least; raises a TrunklineError when the stream breaks."""
        stream = self._stub.WatchStatus(pb.WatchStatusRequest())
        try:
            async for status in stream:
                yield WorkerReport(tuple(_model(each) for each in status.models), status.draining)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            stream.cancel()

    async def restart_engines(self) -> None:
        """Start all its engines anew; raises Unavailable (WORKER_UNAVAILABLE) and what the worker answers."""
        try:
            await self._stub.RestartEngine(pb.RestartEngineRequest())
        except grpc.aio.AioRpcError as error:
            raise self._failure(from_rpc_error(error)) from error

    def _failure(self, error: TrunklineError) -> TrunklineError:
        if error.reason != Reason.SERVICE_UNAVAILABLE:
            return error
        return Unavailable(
            Reason.WORKER_UNAVAILABLE,
            f"the worker at {self._address} cannot be reached",
            metadata={"worker": self._address},
        )


def _model(status: pb.ModelStatus) -> ModelState:
    return ModelState(
        model=status.model,
        version=status.version,
        ready=status.state == pb.MODEL_STATE_READY,
        task=_TASKS.get(status.task, Task.UNSPECIFIED),
        tokenizer_digest=status.tokenizer_digest,
        context_length=status.context_length,
        dimensions=status.dimensions,
        ready_since=status.ready_since.ToDatetime(UTC) if status.HasField("ready_since") else None,
    )
