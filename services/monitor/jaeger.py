"""Traces in the shapes of Jaeger's query API v3 over HTTP, so that one check runs against either."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from services.monitor.traces import Span, Trace

Json = dict[str, Any]


def trace(found: Trace) -> Json:
    """Return a trace as `GET /api/v3/traces/{trace_id}` answers: OTLP's JSON in gRPC-gateway's `result`."""
    groups = groupby(sorted(found.spans, key=_place), key=_place)
    return {"result": {"resourceSpans": [_group(*place, spans) for place, spans in groups]}}


def services(operations: Iterable[tuple[str, str, str]]) -> Json:
    """Return the services as `GET /api/v3/services` answers."""
    return {"services": sorted({service for service, _, _ in operations})}


def operations_of(service: str, operations: Iterable[tuple[str, str, str]]) -> Json:
    """Return a service's operations as `GET /api/v3/operations` answers; an unknown one has none."""
    own = sorted((name, kind) for each, name, kind in operations if each == service)
    return {"operations": [{"name": name, "spanKind": kind} for name, kind in own]}


def error(status: int, message: str) -> Json:
    """Return a failure as gRPC-gateway says it."""
    return {"error": {"httpCode": status, "message": message}}


def _place(span: Span) -> tuple[bytes, str]:
    return (span.resource, span.scope)


def _group(resource: bytes, scope: str, spans: Iterable[Span]) -> Json:
    return {
        "resource": MessageToDict(Resource.FromString(resource)),
        "scopeSpans": [{"scope": {"name": scope} if scope else {}, "spans": [_span(span) for span in spans]}],
    }


def _span(span: Span) -> Json:
    """OTLP's JSON is proto3's, but for ids in hex and enums as numbers."""
    message = otlp.Span.FromString(span.payload)
    found = MessageToDict(message, use_integers_for_enums=True)
    found |= {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if "parentSpanId" in found:
        found["parentSpanId"] = message.parent_span_id.hex()
    for shown, link in zip(found.get("links", ()), message.links, strict=True):
        shown |= {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()}
    return found
