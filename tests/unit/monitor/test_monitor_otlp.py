"""OTLP messages as points and spans, however odd."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2
from prometheus_client.parser import text_string_to_metric_families

from services.monitor import encoding, jaeger
from services.monitor.drops import Drops
from services.monitor.exposition import Exposition, Format
from services.monitor.metrics import MetricStore
from services.monitor.otlp import metrics, traces
from services.monitor.otlp.receiver import Receiver
from services.monitor.otlp.values import text
from services.monitor.points import Kind, Origin, Point
from services.monitor.traces import Span, TraceRing
from tests.unit.monitor.clock import ManualClock

DELTA, CUMULATIVE = otlp.AGGREGATION_TEMPORALITY_DELTA, otlp.AGGREGATION_TEMPORALITY_CUMULATIVE


def pair(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


RESOURCE = Resource(attributes=[pair("service.name", "front"), pair("service.instance.id", "a:1")])


def of_metrics(*found: otlp.Metric) -> ExportMetricsServiceRequest:
    scope = otlp.ScopeMetrics(metrics=found)
    return ExportMetricsServiceRequest(
        resource_metrics=[otlp.ResourceMetrics(resource=RESOURCE, scope_metrics=[scope])]
    )


def of_spans(*found: trace_pb2.Span) -> ExportTraceServiceRequest:
    scope = trace_pb2.ScopeSpans(spans=found)
    return ExportTraceServiceRequest(
        resource_spans=[trace_pb2.ResourceSpans(resource=RESOURCE, scope_spans=[scope])]
    )


def total(value: float, *, name: str = "calls", temporality: Any = DELTA, **more: Any) -> otlp.Metric:
    points = [otlp.NumberDataPoint(as_double=value, **more)]
    return otlp.Metric(
        name=name,
        sum=otlp.Sum(is_monotonic=True, aggregation_temporality=temporality, data_points=points),
    )


def histogram(**more: Any) -> otlp.Metric:
    point = otlp.HistogramDataPoint(**{"bucket_counts": [1, 2], "explicit_bounds": [1.0], "sum": 3.0, **more})
    return otlp.Metric(
        name="delay", unit="s", histogram=otlp.Histogram(aggregation_temporality=DELTA, data_points=[point])
    )


def span(**more: Any) -> trace_pb2.Span:
    return trace_pb2.Span(**{"trace_id": b"t" * 16, "span_id": b"s" * 8, "name": "work", **more})


def decoded(*found: otlp.Metric) -> tuple[list[Point], dict[tuple[str, str], int]]:
    drops = Drops()
    points = [point for _, each in metrics.decode(of_metrics(*found), drops) for point in each]
    return points, drops.counts()


def decoded_spans(*found: trace_pb2.Span) -> tuple[list[Span], dict[tuple[str, str], int]]:
    drops = Drops()
    return list(traces.decode(of_spans(*found), drops)), drops.counts()


def test_a_process_is_its_service_and_its_instance():
    [(origin, _)] = metrics.decode(of_metrics(total(1.0)), Drops())
    assert origin == Origin("front", "a:1")
    nameless = ExportMetricsServiceRequest(resource_metrics=[otlp.ResourceMetrics()])
    assert next(iter(metrics.decode(nameless, Drops())))[0] == Origin("unknown_service", "")


def test_each_kind_becomes_its_own():
    level = otlp.Metric(name="level", gauge=otlp.Gauge(data_points=[otlp.NumberDataPoint(as_int=-3)]))
    updown = otlp.Metric(
        name="updown",
        sum=otlp.Sum(aggregation_temporality=DELTA, data_points=[otlp.NumberDataPoint(as_int=-3)]),
    )
    points, drops = decoded(total(2.0), level, updown, histogram(max=9.0))
    assert [point.instrument.kind for point in points] == [
        Kind.COUNTER,
        Kind.GAUGE,
        Kind.GAUGE,
        Kind.HISTOGRAM,
    ]
    assert [point.cumulative for point in points] == [False, True, False, False]
    assert (points[3].buckets.counts, points[3].buckets.maximum) == ((1, 2), 9.0)
    assert drops == {}


def test_attributes_are_text_sorted_cut_and_few():
    many = [pair(f"k{number:03}", "v" * 1_000) for number in range(100)]
    [point], _ = decoded(total(1.0, attributes=[pair("z", "1"), *many]))
    assert len(point.attributes) == 32
    assert point.attributes[0] == ("k000", "v" * 256)
    assert point.attributes[-1] == ("z", "1")


@pytest.mark.parametrize(
    "bad",
    [
        total(math.nan),
        total(math.inf),
        total(-1.0),
        total(1.0, name=""),
        total(1.0, temporality=0),
        total(1.0, temporality=77),
        histogram(bucket_counts=[1]),
        histogram(bucket_counts=[2**63, 1]),
        histogram(explicit_bounds=[1.0, 0.5], bucket_counts=[1, 1, 1]),
        histogram(explicit_bounds=[math.nan]),
        histogram(explicit_bounds=[float(each) for each in range(65)], bucket_counts=[1] * 66),
        histogram(sum=math.nan),
    ],
)
def test_a_malformed_point_is_dropped_and_counted_and_its_neighbours_stay(bad: otlp.Metric):
    points, drops = decoded(bad, total(1.0))
    assert [point.value for point in points] == [1.0]
    assert drops == {("metrics", "malformed"): 1}


def test_a_kind_that_is_not_kept_is_counted():
    exponential = otlp.ExponentialHistogram(data_points=[otlp.ExponentialHistogramDataPoint()] * 3)
    points, drops = decoded(
        otlp.Metric(name="x", exponential_histogram=exponential), otlp.Metric(name="none")
    )
    assert (points, drops) == ([], {("metrics", "unsupported_kind"): 3})


def test_a_point_without_a_value_says_nothing():
    points, drops = decoded(total(1.0, flags=1), histogram(flags=1))
    assert (points, drops) == ([], {})


def test_a_count_without_buckets_is_one_bucket():
    [point], _ = decoded(histogram(bucket_counts=[], explicit_bounds=[], count=7))
    assert point.buckets.counts == (7,)


def test_a_request_has_so_many_points_at_most():
    request = of_metrics(*[total(1.0)] * (metrics.MAX_POINTS + 10))
    assert sum(len(points) for _, points in metrics.decode(request, Drops())) == metrics.MAX_POINTS
    assert metrics.count(request) == metrics.MAX_POINTS + 10


@pytest.mark.parametrize(
    "bad",
    [
        span(trace_id=b""),
        span(trace_id=bytes(16)),
        span(span_id=b"short"),
        span(span_id=bytes(8)),
        span(parent_span_id=b"1234567"),
    ],
)
def test_a_span_without_proper_ids_is_dropped_and_counted(bad: trace_pb2.Span):
    spans, drops = decoded_spans(bad, span())
    assert len(spans) == 1
    assert drops == {("traces", "malformed"): 1}


def test_odd_spans_are_made_even():
    [found], _ = decoded_spans(
        span(kind=99, start_time_unix_nano=10, end_time_unix_nano=5, parent_span_id=bytes(8))
    )
    assert (found.kind, found.end_ns, found.parent_id) == ("internal", 10, b"")


def test_a_span_that_is_too_large_keeps_the_first_of_everything():
    deep = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="v" * 1_000)] * 10))
    large = span(
        name="n" * 100_000,
        attributes=[KeyValue(key=f"k{number}", value=deep) for number in range(100)],
        events=[trace_pb2.Span.Event(name="e" * 10_000, attributes=[pair("k", "v" * 9_000)] * 50)] * 50,
        links=[trace_pb2.Span.Link(trace_id=b"t" * 500, span_id=b"s" * 8, trace_state="x" * 500)] * 500,
    )
    [found], drops = decoded_spans(large)
    assert len(found.payload) < 160_000
    assert drops == {("traces", "span_cut"): 1}
    message = trace_pb2.Span.FromString(found.payload)
    assert (len(message.attributes), len(message.events), len(message.links)) == (64, 32, 256)
    assert message.attributes[0].value.string_value.startswith("[vvv")


def test_a_resource_that_is_too_large_is_cut():
    request = of_spans(span())
    request.resource_spans[0].resource.attributes.extend([pair("k", "v" * 10_000)] * 100)
    [found] = traces.decode(request, Drops())
    assert len(found.resource) < 6_000
    assert found.service == "front"


def test_values_are_text_as_people_write_it():
    pairs = KeyValueList(values=[KeyValue(key="k", value=AnyValue(int_value=1))])
    both = ArrayValue(
        values=[AnyValue(bool_value=True), AnyValue(double_value=0.5), AnyValue(bytes_value=b"\xff")]
    )
    assert text(AnyValue(array_value=both)) == "[true, 0.5, ff]"
    assert text(AnyValue(kvlist_value=pairs)) == "{k: 1}"
    assert text(AnyValue()) == ""


async def test_no_bytes_that_parse_make_anything_fail():
    generator = random.Random(7)
    drops, ring = Drops(), TraceRing(Drops())
    store = MetricStore(ManualClock(), 10**18, drops)
    receiver = Receiver(store, ring, drops)
    whole = of_metrics(total(2.0, attributes=[pair("k", "v")]), histogram(max=9.0)).SerializeToString()
    trace = of_spans(span(attributes=[pair("k", "v")], links=[{"trace_id": b"t" * 16}])).SerializeToString()
    for _ in range(4_000):
        await _take(receiver.take_metrics, ExportMetricsServiceRequest, _damaged(whole, generator))
        await _take(receiver.take_traces, ExportTraceServiceRequest, _damaged(trace, generator))
    body = "".join(Exposition(store, ring, drops).pieces(Format.accepted("")))
    assert list(text_string_to_metric_families(body))
    for found in ring.newest():
        assert jaeger.trace(found)["result"]
        assert encoding.whole(found).spans
        assert encoding.summary(found).spans


def _damaged(data: bytes, generator: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        found[generator.randrange(len(found))] = generator.randrange(256)
    return bytes(found)


async def _take(take: Any, kind: Any, data: bytes) -> None:
    try:
        request = kind.FromString(data)
    except Exception:  # noqa: BLE001 - not a message: the server answers REQUEST_MALFORMED
        return
    await take(request, None)
