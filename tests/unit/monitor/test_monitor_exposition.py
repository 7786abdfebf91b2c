"""The store as Prometheus' own parsers read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from services.monitor.drops import Drops
from services.monitor.exposition import Exposition, Format
from services.monitor.metrics import MetricStore
from services.monitor.points import Buckets, Instrument, Kind, Origin, Point
from services.monitor.traces import TraceRing
from tests.unit.monitor.clock import ManualClock

Parse = Callable[[str], Iterable[Metric]]
BOTH = pytest.mark.parametrize(
    ("accept", "parse"),
    [("text/plain", parse_text), ("application/openmetrics-text;version=1.0.0,*/*", parse_openmetrics)],
)


def families(accept: str, parse: Parse, *points: Point, service: str = "front") -> dict[str, Metric]:
    drops = Drops()
    store = MetricStore(ManualClock(), 0, drops)
    store.record(Origin(service, "a:1"), points)
    body = "".join(Exposition(store, TraceRing(drops), drops).pieces(Format.accepted(accept)))
    return {family.name: family for family in parse(body)}


@BOTH
def test_help_texts_and_types_are_read_back(accept: str, parse: Parse):
    described = Instrument("calls", "{call}", Kind.COUNTER, 'up "and"\ndown\\')
    found = families(accept, parse, Point(described, (), 1.0))["calls"]
    assert (found.type, found.documentation) == ("counter", 'up "and"\ndown\\')


@BOTH
def test_a_histogram_that_may_be_negative_has_no_sum(accept: str, parse: Parse):
    change = Instrument("change", "", Kind.HISTOGRAM)
    point = Point(change, (), Buckets((-1.0, 1.0), (1, 2, 0), -3.0))
    found = families(accept, parse, point)["change"]
    assert [(each.name, each.value) for each in found.samples] == [
        ("change_bucket", 1),
        ("change_bucket", 3),
        ("change_bucket", 3),
    ]


@BOTH
def test_what_was_dropped_and_what_is_held_is_said_first(accept: str, parse: Parse):
    found = list(families(accept, parse, Point(Instrument("a", "", Kind.GAUGE), (), 1.0)))
    assert found[:3] == [
        "trunkline_monitor_series",
        "trunkline_monitor_traces",
        "trunkline_monitor_trace_bytes",
    ]


@BOTH
@given(value=st.text(max_size=20), key=st.text(min_size=1, max_size=10), service=st.text(max_size=10))
def test_any_text_is_read_back(accept: str, parse: Parse, value: str, key: str, service: str):
    # A parser splits at what Python calls a line; Prometheus' splits at newlines alone.
    odd = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    value, service = (text.translate(dict.fromkeys(map(ord, odd))) for text in (value, service))
    point = Point(Instrument(f"m.{key}", "", Kind.GAUGE), ((key, value),), 1.0)
    found = families(accept, parse, point, service=service)
    [sample] = [each for family in found.values() for each in family.samples if "instance" in each.labels]
    assert value in sample.labels.values()
    assert sample.labels["service"] == service
