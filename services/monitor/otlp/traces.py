"""OTLP traces as spans. What is malformed is dropped and counted; what is too large is cut."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from itertools import islice

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from services.monitor.drops import Drops
from services.monitor.otlp.values import NAME_LENGTH, origin, text
from services.monitor.traces import Span

MAX_SPANS = 8_192
RESOURCE_BYTES = 4_096
# A span up to this size is kept as it came; a larger one keeps the first of everything, cut.
SPAN_BYTES = 16_384
SPAN_ATTRIBUTES = 64
SPAN_EVENTS = 32
SPAN_LINKS = 256
TEXT_LENGTH = 512

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")


def decode(request: ExportTraceServiceRequest, drops: Drops) -> Iterator[Span]:
    """Yield the spans, MAX_SPANS at most."""
    return islice((span for each in request.resource_spans for span in _spans(each, drops)), MAX_SPANS)


def count(request: ExportTraceServiceRequest) -> int:
    """Return how many spans there are, whatever they are worth."""
    return sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)


def kind(span: otlp.Span) -> str:
    """Return its side of a call; what is not said, or not known, is "internal"."""
    return _KINDS[span.kind] if span.kind < len(_KINDS) else _KINDS[0]


def _spans(each: otlp.ResourceSpans, drops: Drops) -> Iterator[Span]:
    service, resource = origin(each.resource).service, _resource(each.resource)
    for scope in each.scope_spans:
        name = scope.scope.name[:NAME_LENGTH]
        for span in scope.spans:
            if _identified(span):
                yield _span(span, service, name, resource, drops)
            else:
                drops.count("traces", "malformed")


def _identified(span: otlp.Span) -> bool:
    ids = len(span.trace_id) == 16 and len(span.span_id) == 8 and len(span.parent_span_id) in {0, 8}
    return ids and any(span.trace_id) and any(span.span_id)


def _span(span: otlp.Span, service: str, scope: str, resource: bytes, drops: Drops) -> Span:
    if span.ByteSize() > SPAN_BYTES:
        _cut_span(span)
        drops.count("traces", "span_cut")
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        # All zeros is how some senders write "none".
        parent_id=span.parent_span_id if any(span.parent_span_id) else b"",
        service=service,
        name=span.name[: 2 * NAME_LENGTH],
        kind=kind(span),
        start_ns=span.start_time_unix_nano,
        end_ns=max(span.end_time_unix_nano, span.start_time_unix_nano),
        failed=span.status.code == otlp.Status.STATUS_CODE_ERROR,
        scope=scope,
        resource=resource,
        payload=span.SerializeToString(),
    )


def _resource(resource: Resource) -> bytes:
    if resource.ByteSize() > RESOURCE_BYTES:
        _cut(resource.attributes, RESOURCE_BYTES // TEXT_LENGTH)
        del resource.entity_refs[:]
    return resource.SerializeToString()


def _cut_span(span: otlp.Span) -> None:
    """Cut a span to 150 kB at most: 64 attributes, 32 events of 4 attributes, 256 links of none."""
    span.name, span.trace_state = span.name[:TEXT_LENGTH], ""
    span.status.message = span.status.message[:TEXT_LENGTH]
    _cut(span.attributes, SPAN_ATTRIBUTES)
    del span.events[SPAN_EVENTS:], span.links[SPAN_LINKS:]
    for event in span.events:
        event.name = event.name[:TEXT_LENGTH]
        _cut(event.attributes, 4)
    for link in span.links:
        link.trace_state = ""
        link.trace_id, link.span_id = link.trace_id[:16], link.span_id[:8]
        del link.attributes[:]


def _cut(attributes: MutableSequence[KeyValue], most: int) -> None:
    del attributes[most:]
    for pair in attributes:
        pair.key = pair.key[:NAME_LENGTH]
        # An own text: a list or map within a value may be as large as it likes.
        pair.value.string_value = text(pair.value)[:TEXT_LENGTH]
