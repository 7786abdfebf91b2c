"""ControlService over gRPC: what the board and the processes do, in messages."""

# ruff: noqa: N802, ARG002 - the methods are named and called as generated code has it

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from trunkline.control.v1 import control_pb2 as pb
from trunkline.control.v1.control_pb2_grpc import ControlServiceServicer
from trunkline.inference.v1 import sampling_pb2

from gateway.controller.board import Board
from gateway.controller.restarts import RestartOrder, Restarts
from gateway.controller.table import ModelRoute, RouteTable, VersionRoute
from gateway.controller.writes import TrafficShares, WorkerDrain

SERVICE = pb.DESCRIPTOR.services_by_name["ControlService"]


class ControlService(ControlServiceServicer):
    """Answers fronts, which follow the routes, and operators, who change them."""

    def __init__(self, board: Board, restarts: Restarts) -> None:
        self._board = board
        self._restarts = restarts

    async def WatchRoutes(
        self, request: pb.WatchRoutesRequest, context: Any
    ) -> AsyncIterator[pb.WatchRoutesResponse]:
        """Stream the routes."""
        async with aclosing(self._board.follow()) as tables:
            async for table in tables:
                yield pb.WatchRoutesResponse(routes=encode_table(table))

    async def ListRoutes(self, request: pb.ListRoutesRequest, context: Any) -> pb.ListRoutesResponse:
        """Return the routes."""
        return pb.ListRoutesResponse(routes=encode_table(self._board.table))

    async def SetTraffic(self, request: pb.SetTrafficRequest, context: Any) -> pb.SetTrafficResponse:
        """Share a model's traffic out."""
        shares = tuple((share.version, share.percent) for share in request.shares)
        write = TrafficShares(request.request_id, request.expected_revision, request.model, shares)
        return pb.SetTrafficResponse(revision=await self._board.write(write))

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        """Take a worker out, or put it back."""
        write = WorkerDrain(request.request_id, request.expected_revision, request.worker, request.drained)
        return pb.DrainResponse(revision=await self._board.write(write))

    async def Restart(self, request: pb.RestartRequest, context: Any) -> pb.RestartResponse:
        """Start a process anew."""
        await self._restarts.restart(RestartOrder(request.request_id, request.target))
        return pb.RestartResponse()


def encode_table(table: RouteTable) -> pb.RouteTable:
    """Return the message of `table`."""
    return pb.RouteTable(
        revision=table.revision,
        models=[_model(route) for route in table.models],
        workers=[
            pb.WorkerRoute(address=each.address, reachable=each.reachable, drained=each.drained)
            for each in table.workers
        ],
        changed_at=_timestamp(table.changed_at),
    )


def _model(route: ModelRoute) -> pb.ModelRoute:
    task = sampling_pb2.Task.Value(f"TASK_{route.task}")
    return pb.ModelRoute(model=route.model, task=task, versions=[_version(each) for each in route.versions])


def _version(route: VersionRoute) -> pb.VersionRoute:
    return pb.VersionRoute(
        version=route.version,
        traffic_percent=route.traffic_percent,
        workers=route.workers,
        tokenizer_digest=route.tokenizer_digest,
        context_length=route.context_length,
        dimensions=route.dimensions,
        ready_since=_timestamp(route.ready_since) if route.ready_since else None,
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
