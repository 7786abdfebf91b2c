"""OTLP metrics as points. What is malformed is dropped and counted, point by point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp

from services.monitor.drops import Drops
from services.monitor.otlp.values import NAME_LENGTH, attributes, origin
from services.monitor.points import Buckets, Instrument, Kind, Origin, Point

MAX_POINTS = 16_384
MAX_BUCKETS = 64
# A change of more than 10^12 is no measurement; below it, sums over a window stay within 64 bits.
MAX_COUNT = 2**40

_NO_VALUE = otlp.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


def decode(request: ExportMetricsServiceRequest, drops: Drops) -> Iterator[tuple[Origin, list[Point]]]:
    """Yield the points of each process, MAX_POINTS in all."""
    left = MAX_POINTS
    for each in request.resource_metrics:
        metrics = (metric for scope in each.scope_metrics for metric in scope.metrics)
        points = list(islice((point for metric in metrics for point in _points(metric, drops)), left))
        left -= len(points)
        yield origin(each.resource), points


def count(request: ExportMetricsServiceRequest) -> int:
    """Return how many data points there are, whatever they are worth."""
    return sum(
        len(getattr(metric, data).data_points)
        for each in request.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
        if (data := metric.WhichOneof("data"))
    )


def _points(metric: otlp.Metric, drops: Drops) -> Iterator[Point]:
    data = metric.WhichOneof("data")
    if data == "gauge":
        yield from _numbers(metric, Kind.GAUGE, metric.gauge.data_points, cumulative=True, drops=drops)
    elif data == "sum":
        kind = Kind.COUNTER if metric.sum.is_monotonic else Kind.GAUGE
        total = _cumulative(metric.sum.aggregation_temporality)
        yield from _numbers(metric, kind, metric.sum.data_points, cumulative=total, drops=drops)
    elif data == "histogram":
        yield from _histograms(metric, drops)
    elif data is not None:
        drops.count("metrics", "unsupported_kind", len(getattr(metric, data).data_points))


def _numbers(
    metric: otlp.Metric,
    kind: Kind,
    points: Iterable[otlp.NumberDataPoint],
    *,
    cumulative: bool | None,
    drops: Drops,
) -> Iterator[Point]:
    instrument = _instrument(metric, kind)
    for point in points:
        if point.flags & _NO_VALUE:
            continue
        value = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
        negative = kind is Kind.COUNTER and value < 0
        if cumulative is None or not instrument.name or not math.isfinite(value) or negative:
            drops.count("metrics", "malformed")
        else:
            yield Point(
                instrument, attributes(point.attributes), value, cumulative, point.start_time_unix_nano
            )


def _histograms(metric: otlp.Metric, drops: Drops) -> Iterator[Point]:
    instrument = _instrument(metric, Kind.HISTOGRAM)
    cumulative = _cumulative(metric.histogram.aggregation_temporality)
    for point in metric.histogram.data_points:
        if point.flags & _NO_VALUE:
            continue
        buckets = _buckets(point)
        if buckets is None or cumulative is None or not instrument.name:
            drops.count("metrics", "malformed")
        else:
            yield Point(
                instrument, attributes(point.attributes), buckets, cumulative, point.start_time_unix_nano
            )


def _instrument(metric: otlp.Metric, kind: Kind) -> Instrument:
    return Instrument(
        metric.name[:NAME_LENGTH], metric.unit[:NAME_LENGTH], kind, metric.description[: 2 * NAME_LENGTH]
    )


def _cumulative(temporality: int) -> bool | None:
    """Return None for a temporality that is neither."""
    known = {otlp.AGGREGATION_TEMPORALITY_CUMULATIVE: True, otlp.AGGREGATION_TEMPORALITY_DELTA: False}
    return known.get(otlp.AggregationTemporality.ValueType(temporality))


def _buckets(point: otlp.HistogramDataPoint) -> Buckets | None:
    """Return what the point counts, None where it contradicts itself or is past a limit."""
    bounds = tuple(point.explicit_bounds)
    # A sender may leave out the buckets altogether and send the count alone.
    counts = tuple(point.bucket_counts) or (point.count,)
    if len(bounds) > MAX_BUCKETS or len(counts) != len(bounds) + 1 or sum(counts) > MAX_COUNT:
        return None
    if not all(low < high for low, high in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
        return None
    if not math.isfinite(point.sum):
        return None
    maximum = point.max if point.HasField("max") and math.isfinite(point.max) else None
    return Buckets(bounds, counts, point.sum, maximum)
