"""The picture and its traces as messages of `trunkline.monitor.v1`."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from trunkline.monitor.v1 import monitor_pb2 as pb

from services.kit import semconv
from services.monitor.otlp.values import text
from services.monitor.picture import ModelRow, Picture, ProcessRow, RpcRow, WorkerRow
from services.monitor.roster import Health
from services.monitor.traces import Span, Trace

ATTRIBUTE_LENGTH = 1_024


def mesh(picture: Picture, now_ns: int) -> pb.Mesh:
    """Return the picture as it was at `now_ns` (Unix nanoseconds)."""
    return pb.Mesh(
        observed_at=_timestamp(now_ns),
        services=[_service(row, now_ns) for row in picture.processes],
        workers=[_worker(row) for row in picture.workers],
        rpcs=[_rpc(row) for row in picture.rpcs],
        models=[_model(row) for row in picture.models],
    )


def summary(trace: Trace) -> pb.TraceSummary:
    """Return a trace in a line."""
    return pb.TraceSummary(
        trace_id=trace.trace_id.hex(),
        root=trace.root.name,
        start_time=_timestamp(trace.start_ns),
        duration=_duration_ns(trace.end_ns - trace.start_ns),
        spans=len(trace.spans),
        failed=trace.failed,
    )


def whole(trace: Trace) -> pb.GetTraceResponse:
    """Return a trace with all its spans, ordered by start."""
    spans = sorted(trace.spans, key=lambda span: span.start_ns)
    return pb.GetTraceResponse(trace_id=trace.trace_id.hex(), spans=[_span(span) for span in spans])


def _service(row: ProcessRow, now_ns: int) -> pb.ServiceInstance:
    silent = row.silent_seconds
    return pb.ServiceInstance(
        service=row.service,
        instance=row.instance,
        address=row.address,
        health=_health(row.health),
        cpu_cores=row.cpu_cores,
        memory_bytes=row.memory_bytes,
        reported_at=None if silent is None else _timestamp(now_ns - int(silent * 1e9)),
    )


def _worker(row: WorkerRow) -> pb.Worker:
    return pb.Worker(address=row.address, health=_health(row.health), status=row.status)


def _rpc(row: RpcRow) -> pb.RpcStats:
    return pb.RpcStats(
        service=row.service,
        rpc=row.rpc,
        calls=row.calls,
        errors=row.errors,
        calls_per_second=row.calls_per_second,
        latency_p50=_duration(row.latency_p50),
        latency_p99=_duration(row.latency_p99),
    )


def _model(row: ModelRow) -> pb.ModelStats:
    return pb.ModelStats(
        model=row.model,
        version=row.version,
        requests=row.requests,
        requests_per_second=row.requests_per_second,
        prompt_tokens_per_second=row.prompt_tokens_per_second,
        generated_tokens_per_second=row.generated_tokens_per_second,
        time_to_first_token_p50=_duration(row.time_to_first_token_p50),
        time_to_first_token_p99=_duration(row.time_to_first_token_p99),
    )


def _span(span: Span) -> pb.Span:
    message = otlp.Span.FromString(span.payload)
    attributes = {pair.key: text(pair.value)[:ATTRIBUTE_LENGTH] for pair in message.attributes}
    error = message.status.message or attributes.get(semconv.ERROR_TYPE) or "failed"
    return pb.Span(
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_id.hex(),
        service=span.service,
        name=span.name,
        kind=span.kind,
        start_time=_timestamp(span.start_ns),
        duration=_duration_ns(span.end_ns - span.start_ns),
        attributes=attributes,
        error=error if span.failed else "",
        links=[
            pb.SpanLink(trace_id=link.trace_id.hex(), span_id=link.span_id.hex()) for link in message.links
        ],
    )


def _health(health: Health) -> pb.Health.ValueType:
    return pb.Health.Value(f"HEALTH_{health.value}")


def _timestamp(unix_ns: int) -> Timestamp:
    return Timestamp(seconds=unix_ns // 10**9, nanos=unix_ns % 10**9)


def _duration(seconds: float | None) -> Duration | None:
    return None if seconds is None else _duration_ns(int(max(seconds, 0.0) * 1e9))


def _duration_ns(nanoseconds: int) -> Duration:
    return Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)
