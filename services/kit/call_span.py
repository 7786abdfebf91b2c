"""Spans of calls, made for speed: every rpc makes two, and the SDK's cost three times as much.

To everybody else they are ordinary spans: current in the context, parents of the SDK's spans, and handed to
the SDK's processor when they end.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import getrandbits
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)
_TRACE_ID_RANGE = 1 << 64


class CallSpans:
    """Makes spans of calls: sampled as their parent is, or `ratio` of them where they begin a trace.

    Without a processor nothing is recorded; trace ids are still made and passed on.
    """

    def __init__(
        self, processor: SpanProcessor | None, resource: Resource, scope: InstrumentationScope, ratio: float
    ) -> None:
        self.resource = resource
        self.scope = scope
        self._processor = processor
        self._bound = round(ratio * _TRACE_ID_RANGE) if processor else 0

    def start(self, name: str, parent: Context | None, kind: SpanKind, attributes: Mapping[str, Any]) -> Span:
        """Return a span that began now; `parent` None is the current context."""
        above = get_current_span(parent).get_span_context()
        if above.is_valid:
            trace_id, sampled, state = above.trace_id, bool(above.trace_flags & 1), above.trace_state
        else:
            trace_id, state = getrandbits(128) or 1, None
            sampled = trace_id & (_TRACE_ID_RANGE - 1) < self._bound
        flags = _SAMPLED if sampled else _UNSAMPLED
        context = SpanContext(trace_id, getrandbits(64) or 1, False, flags, state)  # noqa: FBT003 - is_remote
        if not sampled or self._processor is None:
            return NonRecordingSpan(context)
        parent_context = above if above.is_valid else None
        return _CallSpan(self, name, context, parent_context, attributes=attributes, kind=kind)

    def end(self, span: ReadableSpan) -> None:
        """Hand over a span that has ended."""
        if self._processor:
            self._processor.on_end(span)


class _CallSpan(Span):
    """A span that one task writes, so it needs no locks; it is made readable once, at its end."""

    def __init__(
        self,
        spans: CallSpans,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        attributes: Mapping[str, Any],
        kind: SpanKind,
    ) -> None:
        self._spans = spans
        self._name = name
        self._context = context
        self._parent = parent
        self._attributes = dict(attributes)
        self._kind = kind
        self._events: list[Event] = []
        self._links: list[Link] = []
        self._status = _UNSET
        self._ended = False
        self._began = time_ns()

    def get_span_context(self) -> SpanContext:
        """Return the identity of this span."""
        return self._context

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return not self._ended

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute: a str, bool, int, float or a sequence of one of them."""
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        self._attributes.update(attributes)

    def add_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None:
        """Add an event, now or at `timestamp` (ns since the epoch)."""
        self._events.append(Event(name, attributes, timestamp or time_ns()))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Add a link to another span."""
        self._links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Rename the span."""
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status."""
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002, FBT001, FBT002 - the API's signature
    ) -> None:
        """Add an event that names the exception's type; its text, which may quote a client, stays out."""
        self.add_event(
            "exception", {"exception.type": type(exception).__name__, **(attributes or {})}, timestamp
        )

    def end(self, end_time: int | None = None) -> None:
        """End the span now, or at `end_time` (ns since the epoch). Idempotent; later changes are not sent."""
        if self._ended:
            return
        self._ended = True
        self._spans.end(
            ReadableSpan(
                self._name,
                self._context,
                self._parent,
                self._spans.resource,
                attributes=self._attributes,
                events=self._events,
                links=self._links,
                kind=self._kind,
                status=self._status,
                start_time=self._began,
                end_time=end_time or time_ns(),
                instrumentation_scope=self._spans.scope,
            )
        )
