"""The OTLP services that every process of the mesh sends to.

They never refuse: what finds no place or makes no sense is counted, here and in the answer's partial success.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from services.monitor.drops import Drops
from services.monitor.metrics import MetricStore
from services.monitor.otlp import metrics, traces
from services.monitor.traces import TraceRing

METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"

# Parsed, a message takes several times its size; exporters send a few hundred kilobytes.
REQUEST_BYTES = 8 * 1024 * 1024

_WHY = "malformed, unsupported, or past the monitor's limits"


T = TypeVar("T")


class Receiver:
    """Takes metrics into the store and traces into the ring."""

    def __init__(self, store: MetricStore, ring: TraceRing, drops: Drops) -> None:
        self._store = store
        self._ring = ring
        self._drops = drops

    async def take_metrics(
        self, request: ExportMetricsServiceRequest, _context: Any
    ) -> ExportMetricsServiceResponse:
        """Answer METRICS' Export."""
        processes = metrics.decode(request, self._drops)
        rejected = metrics.count(request) - sum(self._store.record(*each) for each in processes)
        if not rejected:
            return ExportMetricsServiceResponse()
        partial = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=_WHY)
        return ExportMetricsServiceResponse(partial_success=partial)

    async def take_traces(
        self, request: ExportTraceServiceRequest, _context: Any
    ) -> ExportTraceServiceResponse:
        """Answer TRACES' Export."""
        rejected = traces.count(request) - self._ring.add(traces.decode(request, self._drops))
        if not rejected:
            return ExportTraceServiceResponse()
        partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=_WHY)
        return ExportTraceServiceResponse(partial_success=partial)


def add_metrics_to_server(receiver: Receiver, server: Any) -> None:
    """Do what generated code does; that of opentelemetry-proto is too old to register methods by name."""
    export = grpc.unary_unary_rpc_method_handler(
        receiver.take_metrics,
        request_deserializer=_limited(ExportMetricsServiceRequest.FromString),
        response_serializer=ExportMetricsServiceResponse.SerializeToString,
    )
    server.add_registered_method_handlers(METRICS, {"Export": export})


def add_traces_to_server(receiver: Receiver, server: Any) -> None:
    """Do as add_metrics_to_server."""
    export = grpc.unary_unary_rpc_method_handler(
        receiver.take_traces,
        request_deserializer=_limited(ExportTraceServiceRequest.FromString),
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    server.add_registered_method_handlers(TRACES, {"Export": export})


def _limited(parse: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Refuse a message that is too large before it is parsed; its sender is told that it is malformed."""

    def limited(data: bytes) -> T:
        if len(data) > REQUEST_BYTES:
            raise ValueError(f"{len(data)} bytes are more than {REQUEST_BYTES}")
        return parse(data)

    return limited
