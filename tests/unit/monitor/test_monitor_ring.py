"""The ring of traces and its bounds."""

from __future__ import annotations

import tracemalloc

from services.monitor.drops import Drops
from services.monitor.traces import Span, TraceLimits, TraceRing


def span(trace: int, number: int = 1, *, parent: int = 0, name: str = "work", payload: bytes = b"x") -> Span:
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_id=parent.to_bytes(8, "big") if parent else b"",
        service="front",
        name=name,
        kind="server",
        start_ns=1_000 * number,
        end_ns=1_000 * number + 500,
        failed=number == 13,
        scope="trunkline",
        resource=b"",
        payload=payload,
    )


def test_the_oldest_trace_by_first_arrival_goes_first():
    ring = TraceRing(Drops(), TraceLimits(traces=3))
    ring.add([span(1), span(2), span(3), span(1, 2), span(4)])
    assert [trace.trace_id[-1] for trace in ring.newest()] == [4, 3, 2]
    assert ring.get((1).to_bytes(16, "big")) is None


def test_a_trace_that_is_gone_begins_anew():
    ring = TraceRing(Drops(), TraceLimits(traces=1))
    ring.add([span(1), span(2), span(1, 2)])
    trace = ring.get((1).to_bytes(16, "big"))
    assert trace is not None
    assert [each.span_id[-1] for each in trace.spans] == [2]


def test_a_trace_past_its_spans_drops_the_rest_and_says_so():
    drops = Drops()
    ring = TraceRing(drops, TraceLimits(spans_a_trace=2))
    assert ring.add(span(1, number) for number in range(1, 6)) == 2
    assert drops.counts() == {("traces", "trace_limit"): 3}


def test_a_trace_past_its_bytes_drops_the_rest_and_leaves_the_others():
    ring = TraceRing(Drops(), TraceLimits(bytes_a_trace=10_000))
    ring.add([span(1)])
    assert ring.add(span(2, number, payload=bytes(4_000)) for number in range(1, 100)) == 3
    assert len(ring) == 2


def test_bytes_in_all_are_bounded_and_right_within_a_third():
    limit = 4 * 2**20
    tracemalloc.start()
    try:
        ring = TraceRing(Drops(), TraceLimits(total_bytes=limit))
        for trace in range(1, 3_000):
            ring.add(span(trace, number, name=f"work {trace}", payload=bytes(300)) for number in range(1, 6))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ring.size <= limit
    assert ring.size == sum(trace.size for trace in ring.newest())
    assert 0.67 * limit < held < 1.33 * limit


def test_the_newest_trace_of_a_call_is_found_by_the_names_of_its_spans():
    ring = TraceRing(Drops())
    ring.add([span(1, name="Generate"), span(2, name="Generate"), span(3, name="GetMesh")])
    found = ring.newest_calling(frozenset({"Generate", "Embed"}))
    assert found is not None
    assert found.trace_id[-1] == 2
    assert ring.newest_calling(frozenset({"Embed"})) is None


def test_a_trace_is_summed_up_by_its_root_its_ends_and_its_failures():
    ring = TraceRing(Drops())
    ring.add([span(1, 2, parent=1), span(1, 9, parent=2)])
    trace = next(iter(ring.newest()))
    assert (trace.root.span_id[-1], trace.start_ns, trace.end_ns, trace.failed) == (2, 2_000, 9_500, False)
    ring.add([span(1, 13)])
    assert (trace.root.span_id[-1], trace.failed) == (13, True)


def test_operations_are_every_name_a_service_has():
    ring = TraceRing(Drops())
    ring.add([span(1), span(2), span(3, name="rest")])
    assert ring.operations() == {("front", "work", "server"), ("front", "rest", "server")}
