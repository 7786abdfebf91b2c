"""MonitorService: decode, ask the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from trunkline.monitor.v1 import monitor_pb2 as pb
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceServicer

from services.kit.errors import NotFound, Reason, invalid
from services.kit.paging import page
from services.monitor import encoding
from services.monitor.picture import Observer
from services.monitor.trace_ids import parse_trace_id
from services.monitor.traces import Trace, TraceRing

INFERENCE = frozenset(f"trunkline.inference.v1.InferenceService/{rpc}" for rpc in ("Generate", "Embed"))
INTERVAL_S = 1.0
INTERVAL_LIMITS_S = (0.1, 60.0)
TRACES_A_PAGE = 20


class MonitorServicer(MonitorServiceServicer):
    """Shows the picture and the ring. `wall_ns` gives the Unix time in nanoseconds."""

    def __init__(self, observer: Observer, ring: TraceRing, wall_ns: Callable[[], int]) -> None:
        self._observer = observer
        self._ring = ring
        self._wall_ns = wall_ns

    async def GetMesh(self, _request: pb.GetMeshRequest, _context: Any) -> pb.GetMeshResponse:
        """Return the picture."""
        return pb.GetMeshResponse(mesh=self._mesh())

    async def WatchMesh(
        self, request: pb.WatchMeshRequest, _context: Any
    ) -> AsyncIterator[pb.WatchMeshResponse]:
        """Stream the picture until the caller leaves or the server drains."""
        interval = _interval(request)
        while True:
            yield pb.WatchMeshResponse(mesh=self._mesh())
            await asyncio.sleep(interval)

    async def ListTraces(self, request: pb.ListTracesRequest, _context: Any) -> pb.ListTracesResponse:
        """List the newest traces."""
        traces, token = page(
            self._ring.newest(), _newest_first, request.page_size, request.page_token, default=TRACES_A_PAGE
        )
        return pb.ListTracesResponse(traces=map(encoding.summary, traces), next_page_token=token)

    async def GetTrace(self, request: pb.GetTraceRequest, _context: Any) -> pb.GetTraceResponse:
        """Return one trace."""
        if not request.trace_id:
            return encoding.whole(_found(self._ring.newest_calling(INFERENCE), ""))
        trace_id = parse_trace_id(request.trace_id)
        if trace_id is None:
            raise invalid(
                "trace_id", "must be 32 hex digits, or empty for the newest call to an inference rpc"
            )
        return encoding.whole(_found(self._ring.get(trace_id), request.trace_id))

    def _mesh(self) -> pb.Mesh:
        return encoding.mesh(self._observer.picture(), self._wall_ns())


def _interval(request: pb.WatchMeshRequest) -> float:
    if not request.HasField("interval"):
        return INTERVAL_S
    interval = request.interval.seconds + request.interval.nanos / 1e9
    low, high = INTERVAL_LIMITS_S
    if not low <= interval <= high:
        raise invalid("interval", f"must be from {low} to {high:.0f} seconds, not {interval}")
    return interval


def _newest_first(trace: Trace) -> str:
    return f"{2**63 - trace.number:020d}"


def _found(trace: Trace | None, trace_id: str) -> Trace:
    if trace is None:
        what = (
            f"trace {trace_id} is not here (any more)" if trace_id else "no inference rpc has been traced yet"
        )
        raise NotFound(Reason.TRACE_NOT_FOUND, what, metadata={"trace_id": trace_id})
    return trace
