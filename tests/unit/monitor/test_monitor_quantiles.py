"""Quantiles from bucket counts."""

from __future__ import annotations

from bisect import bisect_left
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from services.monitor.quantiles import Spread, merge

BOUNDS = (0.1, 0.5, 1.0, 5.0)


def spread_of(values: list[float], bounds: tuple[float, ...] = BOUNDS) -> Spread:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    return Spread(bounds, counts, max(values, default=None))


def test_measurements_lie_evenly_in_their_bucket():
    assert Spread((10.0, 20.0), (10, 10, 0)).quantile(0.5) == 10.0
    assert Spread((10.0, 20.0), (10, 10, 0)).quantile(0.75) == 15.0
    assert Spread((10.0, 20.0), (10, 10, 0)).quantile(0.25) == 5.0


def test_nothing_measured_has_no_quantile():
    assert Spread(BOUNDS, (0, 0, 0, 0, 0)).quantile(0.5) is None


def test_above_the_last_bound_the_maximum_bounds_and_without_one_the_last_bound_stands():
    assert Spread((1.0,), (0, 10)).quantile(0.99) == 1.0
    assert Spread((1.0,), (0, 10), maximum=3.0).quantile(0.5) == 2.0


def test_no_quantile_exceeds_the_maximum():
    assert Spread((1.0, 100.0), (0, 1, 0), maximum=2.0).quantile(0.99) == 2.0


def test_a_lowest_bucket_below_zero_begins_at_its_bound():
    assert Spread((-1.0, 1.0), (4, 0, 0)).quantile(0.5) == -1.0


def test_without_buckets_only_the_maximum_is_known():
    assert Spread((), (4,), maximum=2.0).quantile(0.5) == 1.0
    assert Spread((), (4,)).quantile(0.5) == 0.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_measurement_at_its_rank(values: list[float], q: float):
    found = spread_of(values).quantile(q)
    assert found is not None
    true = sorted(values)[ceil(q * len(values) - 1e-9) - 1]
    place = bisect_left(BOUNDS, true)
    low = BOUNDS[place - 1] if place else 0.0
    high = BOUNDS[place] if place < len(BOUNDS) else max(values)
    assert low <= found <= high + 1e-9


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_quantiles_rise(values: list[float]):
    found = [spread_of(values).quantile(q / 20) or 0.0 for q in range(1, 21)]
    assert found == sorted(found)
    assert found[-1] <= max(values)


@given(st.lists(st.floats(0, 10), min_size=1), st.lists(st.floats(0, 10), min_size=1))
def test_parts_of_one_scale_merge_to_the_whole(first: list[float], second: list[float]):
    merged = merge([spread_of(first), spread_of(second)])
    whole = spread_of(first + second)
    assert list(merged.counts) == list(whole.counts)
    assert merged.quantile(0.9) == whole.quantile(0.9)


def test_scales_that_differ_merge_and_err_upwards():
    merged = merge([Spread((1.0, 10.0), (0, 4, 0)), Spread((5.0,), (4, 0))])
    assert merged.bounds == (1.0, 5.0, 10.0)
    assert list(merged.counts) == [0, 4, 4, 0]


def test_a_part_without_a_maximum_leaves_the_whole_without_one():
    assert merge([Spread((1.0,), (0, 1), 3.0), Spread((1.0,), (0, 1))]).maximum is None
    assert merge([Spread((1.0,), (0, 1), 3.0), Spread((1.0,), (0, 1), 4.0)]).maximum == 4.0


def test_merging_nothing_has_no_quantile():
    assert merge([]).quantile(0.5) is None
