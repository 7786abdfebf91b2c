"""The ring of traces: the newest ones, bounded in traces, spans and bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.monitor.drops import Drops

# What a Span takes besides its payload: the object, its ids, numbers and name (measured: 560 bytes).
SPAN_BYTES = 560


@dataclass(frozen=True, slots=True)
class Span:
    """What the ring must know of a span, and the span itself as it came.

    `payload` (an OTLP Span) and `resource` (an OTLP Resource) are serialised: half a kilobyte a span where
    objects would take four, and a size that can be counted.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    failed: bool
    scope: str
    resource: bytes
    payload: bytes


@dataclass
class Trace:
    """The spans of a trace that have arrived, in that order."""

    trace_id: bytes
    number: int
    """Counts up with each trace that begins to arrive: a larger number is a newer trace."""
    spans: list[Span] = field(default_factory=list)
    size: int = 0

    @property
    def root(self) -> Span:
        """The earliest span without a parent, or the earliest of all while there is none."""
        return min(self.spans, key=lambda span: (bool(span.parent_id), span.start_ns))

    @property
    def start_ns(self) -> int:
        """When the first of its spans began, in Unix nanoseconds."""
        return min(span.start_ns for span in self.spans)

    @property
    def end_ns(self) -> int:
        """When the last of its spans ended, in Unix nanoseconds."""
        return max(span.end_ns for span in self.spans)

    @property
    def failed(self) -> bool:
        """True when a span of it failed."""
        return any(span.failed for span in self.spans)

    def add(self, span: Span) -> int:
        """Keep a span; return how many bytes the trace has grown by, about."""
        # Spans that came together share one resource object.
        shared = bool(self.spans) and self.spans[-1].resource is span.resource
        grown = SPAN_BYTES + len(span.payload) + (0 if shared else len(span.resource))
        self.spans.append(span)
        self.size += grown
        return grown


@dataclass(frozen=True)
class TraceLimits:
    """What the ring may hold."""

    traces: int = 1_000
    spans_a_trace: int = 2_000
    bytes_a_trace: int = 4 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024


class TraceRing:
    """Keeps the newest traces by first arrival.

    A span of a trace that is gone begins it anew, so a trace may come back in part. The oldest trace goes
    when either the number of traces or their bytes pass the limit; a span past its trace's limits is dropped.
    """

    def __init__(self, drops: Drops, limits: TraceLimits | None = None) -> None:
        self._drops = drops
        self._limits = limits or TraceLimits()
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()
        self._begun = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._traces)

    def add(self, spans: Iterable[Span]) -> int:
        """Keep spans; return how many found a place."""
        return sum(self._add(span) for span in spans)

    def get(self, trace_id: bytes) -> Trace | None:
        """Return the trace, None where it is not here (any more)."""
        return self._traces.get(trace_id)

    def newest(self) -> Iterable[Trace]:
        """Return the traces, the one that began to arrive last first."""
        return reversed(self._traces.values())

    def newest_calling(self, names: frozenset[str]) -> Trace | None:
        """Return the newest trace with a span of one of these names."""
        calls = (trace for trace in self.newest() if any(span.name in names for span in trace.spans))
        return next(calls, None)

    def operations(self) -> set[tuple[str, str, str]]:
        """Return the services of all spans, with each one's span names and kinds."""
        return {
            (span.service, span.name, span.kind) for trace in self._traces.values() for span in trace.spans
        }

    def _add(self, span: Span) -> bool:
        trace = self._traces.get(span.trace_id)
        if trace is None:
            self._begun += 1
            trace = self._traces[span.trace_id] = Trace(span.trace_id, self._begun)
        if len(trace.spans) >= self._limits.spans_a_trace or trace.size >= self._limits.bytes_a_trace:
            self._drops.count("traces", "trace_limit")
            return False
        self.size += trace.add(span)
        self._make_room()
        return True

    def _make_room(self) -> None:
        while len(self._traces) > self._limits.traces or self.size > self._limits.total_bytes:
            _, gone = self._traces.popitem(last=False)
            self.size -= gone.size
