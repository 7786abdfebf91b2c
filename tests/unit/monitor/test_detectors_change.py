"""Detectors of change in one series."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pytest

from services.monitor.detectors.adwin import Adwin
from services.monitor.detectors.ewma import EwmaChart
from services.monitor.detectors.mean_shift import MeanShift
from services.monitor.detectors.page_hinkley import PageHinkley
from services.monitor.detectors.robust_z import RobustZ


def normal(count: int, mean: float = 0.0, seed: int = 1) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1.0, count).tolist()


class Detector(Protocol):
    def observe(self, value: float) -> bool: ...


def alarms(detector: Detector, values: Sequence[float]) -> list[int]:
    return [at for at, value in enumerate(values) if detector.observe(value)]


def test_adwin_s_window_has_the_mean_and_variance_of_its_values():
    window, values = Adwin(), normal(3_000)
    assert alarms(window, values) == []
    assert window.width == 3_000
    assert window.mean == pytest.approx(np.mean(values))
    assert window.variance == pytest.approx(np.var(values))


def test_adwin_forgets_what_was_before_a_shift():
    window = Adwin()
    found = alarms(window, normal(2_000) + normal(1_000, mean=1.0, seed=2))
    assert found
    assert 2_000 <= found[0] < 2_100
    assert window.width < 1_100
    assert window.mean == pytest.approx(1.0, abs=0.15)


def test_adwin_takes_logarithmic_memory():
    window = Adwin()
    alarms(window, [0.5] * 50_000)
    assert sum(map(len, window._rows)) < 6 * math.log2(50_000)


def test_adwin_cuts_where_river_s_does():
    drift = pytest.importorskip("river.drift", reason="river is not installed: its ADWIN is not compared")
    values = [*normal(1_000), *normal(700, 0.6, 2), *normal(900, -0.5, 3), *normal(500, 3.0, 4)]
    ours, theirs, cuts = Adwin(), drift.ADWIN(), 0
    for value in values:
        cut = ours.observe(value)
        theirs.update(value)
        assert (cut, ours.width) == (theirs.drift_detected, theirs.width)
        assert ours.mean == pytest.approx(theirs.estimation, abs=1e-9)
        if cut:  # after which theirs begins with nothing, where ours keeps the new part
            ours, cuts = Adwin(), cuts + 1
    assert cuts >= 3


def test_page_hinkley_follows_its_recursion():
    values, slack, limit = normal(400) + normal(100, 1.0, seed=2), 0.2, 10.0
    expected, mean, count, up, down = [], 0.0, 0, 0.0, 0.0
    for at, value in enumerate(values):
        count += 1
        mean = (mean * (count - 1) + value) / count
        up, down = max(0.0, up + value - mean - slack), max(0.0, down + mean - value - slack)
        if count >= 30 and max(up, down) > limit:
            expected.append(at)
            mean, count, up, down = 0.0, 0, 0.0, 0.0
    assert alarms(PageHinkley(slack, limit), values) == expected
    assert expected[-1] >= 400


def test_page_hinkley_alarms_where_river_s_does():
    drift = pytest.importorskip(
        "river.drift", reason="river is not installed: its Page-Hinkley is not compared"
    )
    values = normal(400) + normal(300, 1.0, seed=2)
    theirs, found = drift.PageHinkley(min_instances=30, delta=0.2, threshold=10.0, alpha=1.0), []
    for at, value in enumerate(values):
        theirs.update(value)
        if theirs.drift_detected:
            found.append(at)
    ours = alarms(PageHinkley(0.2, 10.0), values)
    assert ours[:1] == found[:1]


@pytest.mark.parametrize(("shift", "within"), [(1.0, 50), (-1.0, 50), (0.25, 600), (-0.25, 600)])
def test_a_shift_of_the_mean_is_found_soon(shift: float, within: int):
    delays = []
    for seed in range(9):
        values = normal(4_000, 0.0, seed) + normal(2_000, shift, 100 + seed)
        found = alarms(MeanShift(), values)
        assert found[0] >= 4_000
        delays.append(found[0] - 4_000)
    assert sorted(delays)[4] <= within


def test_a_mean_shift_has_no_unit():
    values = normal(3_000) + normal(300, 1.0, seed=2)
    assert alarms(MeanShift(), values) == alarms(MeanShift(), [7e9 + 1e6 * value for value in values])


def test_what_never_changed_shifts_with_its_first_change():
    assert alarms(MeanShift(warm_up=10), [3.0] * 50 + [3.1]) == [50]


def test_one_wild_value_is_no_shift():
    assert alarms(MeanShift(), [*normal(3_000), 1e9, *normal(500, seed=2)]) == []


def test_an_ewma_chart_is_quiet_in_control_and_loud_out_of_it():
    chart = EwmaChart()
    found = alarms(chart, normal(3_000) + normal(200, 2.0, seed=2))
    assert found
    assert 3_000 <= found[0] < 3_030
    assert found[-1] == 3_199
    assert chart.mean == pytest.approx(0.0, abs=0.5)


def test_a_robust_z_is_that_of_the_window_s_quantiles():
    values, keep = normal(300), 64
    z = RobustZ(keep, 30)
    for at, value in enumerate(values):
        told = z.observe(value)
        window = values[max(at - keep, 0) : at]
        if at >= 30:
            spread = (np.quantile(window, 0.75) - np.quantile(window, 0.25)) / 1.349
            assert told == pytest.approx((value - np.median(window)) / spread)
        else:
            assert told == 0.0


def test_a_quarter_of_wild_values_does_not_hide_the_next():
    numbers, z = random.Random(1), RobustZ(100)
    for value in normal(400):
        z.observe(1e6 if numbers.random() < 0.2 else value)
    assert z.observe(20.0) > 8


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adwin(delta=0),
        lambda: PageHinkley(limit=0),
        lambda: MeanShift(warm_up=1),
        lambda: EwmaChart(rate=0),
        lambda: RobustZ(keep=10, warm_up=30),
    ],
)
def test_settings_without_a_meaning_are_refused(make: Callable[[], object]):
    with pytest.raises(ValueError):
        make()
