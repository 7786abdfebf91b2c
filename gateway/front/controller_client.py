"""The controller as the front follows it: the stream of routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC

import grpc
from trunkline.control.v1 import control_pb2 as pb
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1 import sampling_pb2

from gateway.front.calls import Task
from gateway.front.routes import Route, RouteTable, Version, table
from services.kit.status import from_rpc_error

_TASKS = {sampling_pb2.TASK_GENERATE: Task.GENERATE, sampling_pb2.TASK_EMBED: Task.EMBED}


class ControllerClient:
    """Calls the controller."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ControlServiceStub(channel)

    async def watch(self) -> AsyncGenerator[RouteTable, None]:
        """Yield the routes at once and on each change; raises a TrunklineError when the stream breaks."""
        stream = self._stub.WatchRoutes(pb.WatchRoutesRequest())
        try:
            async for message in stream:
                yield _table(message.routes)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            stream.cancel()


def _table(routes: pb.RouteTable) -> RouteTable:
    models = [
        Route(each.model, _TASKS.get(each.task, Task.UNKNOWN), tuple(map(_version, each.versions)))
        for each in routes.models
    ]
    return table(models, [worker.address for worker in routes.workers], routes.revision)


def _version(route: pb.VersionRoute) -> Version:
    since = route.ready_since.ToDatetime(UTC) if route.HasField("ready_since") else None
    return Version(
        route.version,
        route.traffic_percent,
        tuple(route.workers),
        route.tokenizer_digest,
        route.context_length,
        route.dimensions,
        since,
    )
