"""How rare and how unlike the past a value is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from services.monitor.detectors.neighbours import Neighbours
from services.monitor.detectors.season import DAY, Season
from services.monitor.detectors.surprise import QUIET, Surprise
from services.monitor.detectors.tail import Tail

NUMBERS = np.random.default_rng(5)
FIVE_MINUTES = 300.0


def daily(days: int) -> np.ndarray:
    at = np.arange(days * 288)
    return 100 + 30 * np.sin(2 * np.pi * at / 288) + np.random.default_rng(7).normal(0, 2, len(at))


def scores(values: np.ndarray) -> np.ndarray:
    detector = Surprise()
    return np.array([detector.observe(at * FIVE_MINUTES, value) for at, value in enumerate(values.tolist())])


def test_within_what_was_seen_rarity_is_a_rank():
    tail = Tail(keep=1_000, warm_up=100)
    for value in NUMBERS.permutation(1_000):
        tail.observe(float(value))
    high, low = tail.observe(500.0)
    assert high == pytest.approx(-math.log10(501 / 1_001))
    assert low == pytest.approx(-math.log10(502 / 1_001))


@pytest.mark.parametrize("law", [stats.expon(), stats.norm(), stats.lognorm(0.5), stats.t(5)])
def test_beyond_what_was_seen_rarity_is_near_the_truth(law: stats.rv_continuous):
    tail = Tail(keep=20_000, warm_up=100)
    for value in law.rvs(20_000, random_state=NUMBERS).tolist():
        tail.observe(value)
    for decades in (3, 4, 5):
        assert tail.observe(float(law.isf(10.0**-decades)))[0] == pytest.approx(decades, rel=0.25)


def test_the_lower_tail_is_the_upper_one_of_the_negated_values():
    up, down = Tail(500, 50), Tail(500, 50)
    for value in NUMBERS.lognormal(size=1_500).tolist():
        assert up.observe(value) == pytest.approx(down.observe(-value)[::-1])


def test_nothing_is_rare_among_few():
    tail = Tail(keep=200, warm_up=100)
    assert {tail.observe(float(value)) for value in [*range(99), 1e9]} == {(0.0, 0.0)}


def test_a_flat_past_makes_any_other_value_rare():
    tail = Tail(keep=200, warm_up=100)
    for _ in range(200):
        tail.observe(1.0)
    assert tail.observe(1.0)[0] < 0.01
    assert tail.observe(1.1)[0] > 10


@pytest.mark.parametrize("keep", [20, 100, 1_000])
def test_the_nearest_neighbour_is_found(keep: int):
    values, lengths = NUMBERS.normal(size=400), (1, 4, 7)
    neighbours = Neighbours(lengths, keep)
    for at, value in enumerate(values.tolist()):
        told = neighbours.observe(value)
        for length, distance in zip(lengths, told, strict=True):
            here = values[at - length + 1 : at + 1]
            lags = [lag for lag in range(length, keep + 1) if at - lag - length + 1 >= 0]
            there = [values[at - lag - length + 1 : at - lag + 1] for lag in lags]
            expected = min((float(np.linalg.norm(here - each)) for each in there), default=None)
            assert distance == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_a_huge_value_leaves_no_lasting_error():
    neighbours, found = Neighbours((4,), 50), 0.0
    for at in range(300):
        (distance,) = neighbours.observe(1e9 if at == 60 else float(at % 5))
        found = distance or 0.0
    assert found == 0.0


def test_a_season_is_the_mean_of_its_slot():
    season = Season(DAY, slots=24, rate=0.5)
    assert season.observe(3_600.0, 10.0) is None
    assert season.observe(3_600.0 + DAY, 14.0) == 4.0
    assert season.observe(3_700.0 + 2 * DAY, 14.0) == 2.0
    assert season.observe(7_200.0, 99.0) is None


def test_a_daily_swing_is_no_surprise_and_a_value_out_of_its_hour_is():
    quiet, odd = daily(21), daily(21)
    odd[18 * 288 + 200 : 18 * 288 + 206] += 45.0  # no higher than at noon
    calm, told = scores(quiet), scores(odd)
    at = int(told[3 * 288 :].argmax()) + 3 * 288
    assert 18 * 288 + 200 <= at <= 18 * 288 + 205
    assert told[at] > calm[3 * 288 :].max() + 4


def test_one_incident_is_told_once():
    values = daily(14)
    values[3_000:3_060] += 200.0
    told = scores(values)[3_000 : 3_000 + QUIET]
    assert told[0] > 10
    assert np.count_nonzero(told) <= 8


def test_a_constant_surprises_nobody():
    assert scores(np.full(3_000, 7.0)).max() == 0.0


def test_what_comes_later_changes_nothing_of_what_was_told():
    values = daily(10)
    other = values.copy()
    other[2_000:] = 0.0
    assert (scores(values)[:2_000] == scores(other)[:2_000]).all()
