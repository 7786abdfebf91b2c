"""A controller that sends the routes it is given."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from trunkline.control.v1 import control_pb2
from trunkline.control.v1.control_pb2_grpc import ControlServiceServicer
from trunkline.inference.v1 import sampling_pb2

from tests.contract.front.tokenizer_double import DIGEST
from tests.contract.front.worker_double import CONTEXT, DIMENSIONS, WorkerDouble


class ControllerDouble(ControlServiceServicer):
    """Sends the table it was last given."""

    def __init__(self) -> None:
        self.table: control_pb2.RouteTable | None = None
        self._changed = asyncio.Condition()

    async def WatchRoutes(
        self, _request: control_pb2.WatchRoutesRequest, _context: Any
    ) -> AsyncIterator[control_pb2.WatchRoutesResponse]:
        sent = None
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.table is not sent)  # noqa: B023
            sent = self.table
            yield control_pb2.WatchRoutesResponse(routes=sent)

    async def route(self, table: control_pb2.RouteTable) -> None:
        """Put a table in force."""
        async with self._changed:
            self.table = table
            self._changed.notify_all()


def routes(*models: control_pb2.ModelRoute) -> control_pb2.RouteTable:
    """Return a table of models."""
    addresses = {each for model in models for version in model.versions for each in version.workers}
    workers = [control_pb2.WorkerRoute(address=each, reachable=True) for each in sorted(addresses)]
    return control_pb2.RouteTable(revision=1, models=models, workers=workers)


def model(
    name: str,
    *versions: control_pb2.VersionRoute,
    task: sampling_pb2.Task.ValueType = sampling_pb2.TASK_GENERATE,
) -> control_pb2.ModelRoute:
    """Return the route of a model."""
    return control_pb2.ModelRoute(model=name, task=task, versions=versions)


def version(
    name: str, percent: int, *workers: WorkerDouble, digest: str = DIGEST
) -> control_pb2.VersionRoute:
    """Return a version on these workers."""
    return control_pb2.VersionRoute(
        version=name,
        traffic_percent=percent,
        workers=[worker.address for worker in workers],
        tokenizer_digest=digest,
        context_length=CONTEXT,
        dimensions=DIMENSIONS,
    )
