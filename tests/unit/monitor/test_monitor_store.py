"""The store of metrics: what points add up to, and what it forgets."""

from __future__ import annotations

import pytest

from services.monitor.drops import Drops
from services.monitor.groups import grouped
from services.monitor.metrics import MetricLimits, MetricStore
from services.monitor.points import Buckets, Instrument, Kind, Origin, Point
from services.monitor.series import Counter, Distribution, Gauge
from tests.unit.monitor.clock import ManualClock

CALLS = Instrument("calls", "{call}", Kind.COUNTER)
LEVEL = Instrument("level", "By", Kind.GAUGE)
DELAY = Instrument("delay", "s", Kind.HISTOGRAM)
ONE, TWO = Origin("front", "a:1"), Origin("front", "a:2")
STARTED_NS = 10**18


class House:
    def __init__(self, limits: MetricLimits | None = None) -> None:
        self.clock, self.drops = ManualClock(), Drops()
        self.store = MetricStore(self.clock, STARTED_NS, self.drops, limits)

    def record(self, origin: Origin, *points: Point) -> int:
        return self.store.record(origin, points)

    def series(self, name: str) -> Counter | Gauge | Distribution:
        return next(iter(self.store.entries(name))).series

    def value(self, name: str) -> float:
        series = self.series(name)
        assert not isinstance(series, Distribution)
        return series.value

    def count(self, name: str) -> int:
        return sum(group.count() for group in grouped(self.store, name, lambda entry: entry.service).values())


@pytest.fixture
def house() -> House:
    return House()


def calls(value: float, **more: object) -> Point:
    return Point(CALLS, (), value, **more)  # type: ignore[arg-type]


def delays(*counts: int, bounds: tuple[float, ...] = (1.0, 2.0), **more: object) -> Point:
    return Point(DELAY, (), Buckets(bounds, counts, float(sum(counts))), **more)  # type: ignore[arg-type]


def test_deltas_add_up(house: House):
    house.record(ONE, calls(3.0))
    house.record(ONE, calls(4.0))
    assert house.value("calls") == 7.0


def test_cumulative_values_of_a_process_that_began_after_the_monitor_count_whole(house: House):
    house.record(ONE, calls(3.0, cumulative=True, start_ns=STARTED_NS + 1))
    house.record(ONE, calls(10.0, cumulative=True, start_ns=STARTED_NS + 1))
    assert house.value("calls") == 10.0


def test_cumulative_values_of_one_that_was_there_before_count_from_now_on(house: House):
    house.record(ONE, calls(1_000.0, cumulative=True, start_ns=5))
    house.record(ONE, calls(1_010.0, cumulative=True, start_ns=5))
    assert house.value("calls") == 10.0


@pytest.mark.parametrize("again", [{"start_ns": 5}, {"start_ns": STARTED_NS + 9}])
def test_a_sender_that_begins_again_counts_from_zero(house: House, again: dict[str, int]):
    house.record(ONE, calls(100.0, cumulative=True, start_ns=5))
    house.record(ONE, calls(7.0, cumulative=True, **again))
    assert house.value("calls") == 7.0


def test_cumulative_buckets_become_changes(house: House):
    house.record(ONE, delays(5, 5, 0, cumulative=True, start_ns=5))
    house.record(ONE, delays(6, 7, 1, cumulative=True, start_ns=5))
    series = house.series("delay")
    assert isinstance(series, Distribution)
    assert (series.counts, series.count, series.total) == ([1, 2, 1], 4, 4.0)
    house.record(ONE, delays(1, 0, 0, cumulative=True, start_ns=5))
    assert series.count == 5


def test_a_change_of_bounds_begins_anew(house: House):
    house.record(ONE, delays(5, 5, 0))
    house.record(ONE, delays(1, 0, bounds=(9.0,)))
    series = house.series("delay")
    assert isinstance(series, Distribution)
    assert (series.bounds, series.counts) == ((9.0,), [1, 0])


def test_a_gauge_stands_and_its_changes_add_up(house: House):
    house.record(ONE, Point(LEVEL, (), 5.0, cumulative=True))
    house.record(ONE, Point(LEVEL, (), 9.0, cumulative=True))
    assert house.value("level") == 9.0
    house.record(ONE, Point(LEVEL, (), -2.0))
    assert house.value("level") == 7.0


def test_names_that_differ_in_unit_or_kind_are_two_series(house: House):
    house.record(ONE, Point(Instrument("x", "s", Kind.COUNTER), (), 1.0))
    house.record(ONE, Point(Instrument("x", "ms", Kind.COUNTER), (), 2.0))
    house.record(ONE, Point(Instrument("x", "s", Kind.GAUGE), (), 3.0))
    assert sorted(entry.series.value for entry in house.store.entries("x")) == [1.0, 2.0, 3.0]  # type: ignore[union-attr]


def test_past_the_limit_series_are_dropped_and_counted_and_known_ones_go_on():
    house = House(MetricLimits(series=2))
    points = [Point(CALLS, (("k", str(value)),), 1.0) for value in range(5)]
    assert house.record(ONE, *points) == 2
    assert house.record(ONE, *points) == 2
    assert house.store.held == 2
    assert house.drops.counts() == {("metrics", "series_limit"): 6}


def test_past_the_limit_processes_are_dropped_and_counted():
    house = House(MetricLimits(processes=1))
    assert house.record(ONE, calls(1.0)) == 1
    assert house.record(TWO, calls(1.0)) == 0
    assert house.drops.counts() == {("metrics", "process_limit"): 1}


def test_a_silent_process_goes_and_what_it_counted_stays_in_its_service(house: House):
    house.record(ONE, delays(1, 1, 0), Point(LEVEL, (), 5.0, cumulative=True))
    house.clock.advance(10)
    house.record(TWO, delays(1, 0, 0))
    house.clock.advance(6)
    assert [process.origin for process in house.store.processes()] == [TWO]
    assert house.store.held == 1
    assert house.count("delay") == 3
    assert list(house.store.entries("level")) == []
    assert grouped(house.store, "delay", lambda entry: entry.service)["front"].spread().quantile(1.0) == 2.0


def test_many_processes_that_come_and_go_leave_one_sum_a_series(house: House):
    for number in range(50):
        house.record(Origin("front", f"a:{number}"), delays(1, 0, 0), calls(1.0))
        house.clock.advance(20)
    assert house.count("delay") == 50
    assert len(list(house.store.entries())) == 2
    assert house.store.held == 0


def test_sums_of_the_silent_are_bounded_too():
    house = House(MetricLimits(series=2))
    for number in range(5):
        house.record(ONE, Point(CALLS, (("k", str(number)),), 1.0))
        house.clock.advance(20)
        house.store.forget_silent()
    assert len(list(house.store.entries())) == 2
    assert house.drops.counts() == {("metrics", "retired_limit"): 3}


def test_a_process_that_comes_back_counts_on(house: House):
    house.record(ONE, delays(1, 0, 0))
    house.clock.advance(20)
    house.record(ONE, delays(2, 0, 0))
    assert house.count("delay") == 3


def test_buckets_have_one_count_more_than_bounds():
    with pytest.raises(ValueError, match="one count more"):
        Buckets((1.0,), (1,), 0.0)


def test_a_point_knows_its_kind():
    with pytest.raises(TypeError):
        _ = delays(1, 0, 0).number
    with pytest.raises(TypeError):
        _ = calls(1.0).buckets
