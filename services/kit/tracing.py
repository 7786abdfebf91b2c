"""Spans and durations of calls, on both sides: one span a call, W3C trace context in and out.

Names and rules follow OpenTelemetry's RPC conventions: a client's span fails with every status but OK, a
server's only with those that are its own fault.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry.context import Context as OtelContext
from opentelemetry.metrics import Histogram
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from services.kit import semconv
from services.kit.handler import Context, Handler, Layer
from services.kit.rpc import Rpc
from services.kit.telemetry import Telemetry

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_TRACEPARENT = re.compile(r"(?!ff|00-.{53})[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_EMPTY = OtelContext()


class CallTelemetry:
    """What is recorded of one rpc on one side."""

    def __init__(
        self, rpc: Rpc, kind: SpanKind, telemetry: Telemetry, duration: Histogram, address: str = ""
    ) -> None:
        self._name = rpc.full_name
        self._kind = kind
        self._start = telemetry.start_call
        self._duration = duration
        self._attributes = {semconv.RPC_SYSTEM_NAME: "grpc", semconv.RPC_METHOD: rpc.full_name}
        self._attributes |= _peer(address)
        self._by_code: dict[str, dict[str, Any]] = {}

    def start(self, parent: OtelContext | None = None) -> Span:
        """Begin the span of a call; `parent` None is the current context."""
        return self._start(self._name, parent, self._kind, self._attributes)

    def finish(self, span: Span, code: str, seconds: float) -> None:
        """End the span of a call that ended with the status `code` after `seconds`."""
        if span.is_recording():
            span.set_attribute(semconv.RPC_RESPONSE_STATUS_CODE, code)
            if self._is_fault(code):
                span.set_attribute(semconv.ERROR_TYPE, code)
                span.set_status(Status(StatusCode.ERROR))
        span.end()
        self._duration.record(seconds, self._by_code.get(code) or self._metric_attributes(code))

    def _is_fault(self, code: str) -> bool:
        return code in semconv.SERVER_FAULTS or (self._kind is SpanKind.CLIENT and code != "OK")

    def _metric_attributes(self, code: str) -> dict[str, Any]:
        attributes = self._attributes | {semconv.RPC_RESPONSE_STATUS_CODE: code}
        if self._is_fault(code):
            attributes[semconv.ERROR_TYPE] = code
        self._by_code[code] = attributes
        return attributes


def server_record(rpc: Rpc, telemetry: Telemetry) -> CallTelemetry:
    """Return what is recorded of calls that this process answers."""
    duration = telemetry.meter.create_histogram(
        semconv.RPC_SERVER_CALL_DURATION, unit="s", description="Duration of calls answered"
    )
    return CallTelemetry(rpc, SpanKind.SERVER, telemetry, duration)


def traced(telemetry: Telemetry) -> Layer:
    """Return the layer that records each call a server answers, and makes its span the current one."""

    def layer(rpc: Rpc, handler: Handler) -> Handler:
        record = server_record(rpc, telemetry)

        async def handle(request: Any, context: Context) -> bytes | None:
            started = perf_counter()
            parent = extract(context.invocation_metadata() or ())
            span = record.start(parent)
            otel_context.attach(set_span_in_context(span, parent))  # ends with the call's task
            code = "OK"
            try:
                return await handler(request, context)
            except asyncio.CancelledError:
                code = _why_cancelled(context, perf_counter() - started)
                raise
            except grpc.aio.AbortError:
                code = _code_name(context.code())
                raise
            except grpc.aio.InternalError:
                code = "CANCELLED"  # a write to a peer that is gone
                raise
            except BaseException:
                code = "UNKNOWN"
                raise
            finally:
                record.finish(span, code, perf_counter() - started)

        return handle

    return layer


def extract(metadata: Iterable[tuple[str, str | bytes]]) -> OtelContext:
    """Return the caller's trace context; empty where it sent none, or nonsense. Baggage is not taken."""
    parent = state = None
    for key, value in metadata:
        if key == TRACEPARENT:
            parent = _TRACEPARENT.fullmatch(str(value))
        elif key == TRACESTATE:
            state = str(value)
    if parent is None:
        return _EMPTY
    trace_id, span_id, flags = (int(part, 16) for part in parent.groups())
    trace_state = TraceState.from_header([state]) if state else None
    span_context = SpanContext(trace_id, span_id, True, TraceFlags(flags & 1), trace_state)  # noqa: FBT003
    return set_span_in_context(NonRecordingSpan(span_context), _EMPTY) if span_context.is_valid else _EMPTY


def inject(span: Span) -> tuple[tuple[str, str], ...]:
    """Return the metadata that makes `span` the parent of the callee's span; empty for an invalid span."""
    context = span.get_span_context()
    if not context.is_valid:
        return ()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
    if not context.trace_state:
        return ((TRACEPARENT, parent),)
    return ((TRACEPARENT, parent), (TRACESTATE, context.trace_state.to_header()))


def _why_cancelled(context: Context, elapsed: float) -> str:
    """Tell a passed deadline from a caller who left: near the deadline, it was the deadline.

    A caller's timer runs ahead of ours by the way of the request and by gRPC's rounding of the timeout.
    """
    left = context.time_remaining()
    if left is None:
        return "CANCELLED"
    slack = 0.05 + min(1.0, 0.05 * (elapsed + left))
    return "DEADLINE_EXCEEDED" if left < slack else "CANCELLED"


def _code_name(code: Any) -> str:
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def _peer(address: str) -> dict[str, Any]:
    """Return `server.address` and `server.port` of a target: `dns:///tokenizer:50051`, `10.0.0.7:50051`."""
    target = address.rpartition("/")[2] if "://" in address or address.startswith("dns:") else address
    if not target:
        return {}
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdigit():
        return {semconv.SERVER_ADDRESS: target}
    return {semconv.SERVER_ADDRESS: host, semconv.SERVER_PORT: int(port)}
