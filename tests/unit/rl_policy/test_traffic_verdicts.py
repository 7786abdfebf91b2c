"""When a canary must go, and which episodes it gets."""

from __future__ import annotations

import numpy as np
import pytest

from services.rl_policy.traffic import Guard, Returns, Traffic, verdict


def returns(values: object) -> Returns:
    total = Returns()
    for value in np.asarray(values, np.float64).tolist():
        total = total.with_one(value)
    return total


def test_the_figures_are_those_of_numpy():
    values = np.random.default_rng(1).normal(3, 2, 500)
    counted = returns(values)
    assert counted.count == 500
    assert counted.mean == pytest.approx(values.mean())
    assert counted.variance == pytest.approx(values.var(ddof=1))


def test_nothing_is_said_before_there_are_enough_episodes():
    assert verdict(Guard(min_episodes=20), returns([0] * 19), returns([1] * 50)) == ""
    assert verdict(Guard(min_episodes=20), returns([0] * 20), returns([1] * 50)) != ""


def test_a_clear_drop_is_a_verdict_with_the_figures():
    random = np.random.default_rng(2)
    why = verdict(Guard(), returns(random.normal(90, 5, 30)), returns(random.normal(100, 5, 300)))
    assert "over 30 episodes" in why
    assert "over 300" in why


def test_a_drop_that_is_allowed_is_none():
    random = np.random.default_rng(2)
    canary, stable = returns(random.normal(90, 5, 30)), returns(random.normal(100, 5, 300))
    assert verdict(Guard(max_drop=20.0), canary, stable) == ""


def test_a_bound_of_its_own_needs_no_stable_version():
    random = np.random.default_rng(3)
    assert verdict(Guard(min_return=50.0), returns(random.normal(40, 5, 30)), Returns()) != ""
    assert verdict(Guard(min_return=30.0), returns(random.normal(40, 5, 30)), Returns()) == ""


def test_an_equal_canary_seldom_goes():
    random = np.random.default_rng(4)
    stable = returns(random.normal(0, 1, 1_000))
    gone = sum(bool(verdict(Guard(), returns(random.normal(0, 1, 40)), stable)) for _ in range(1_000))
    assert gone <= 25


def test_a_share_is_the_share_of_episodes_and_each_keeps_its_version():
    traffic = Traffic(stable=1).promoted(2, 0.1, Guard())
    chosen = [traffic.choose(key) for key in range(20_000)]
    assert 0.09 < sum(version == 2 for version, _ in chosen) / 20_000 < 0.11
    assert chosen == [traffic.choose(key) for key in range(20_000)]


def test_promotion_and_rollback_are_each_others_way_back():
    traffic = Traffic(stable=1).promoted(2, 1.0, Guard())
    assert (traffic.stable, traffic.previous) == (2, 1)
    trial = traffic.promoted(3, 0.5, Guard())
    assert trial.rolled_back() == traffic.promoted(2, 1.0, Guard())
    back = traffic.rolled_back()
    assert back is not None
    assert (back.stable, back.previous) == (1, 0)
    assert back.rolled_back() is None
