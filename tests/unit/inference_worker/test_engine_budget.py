"""The budget of a step: measured once, corrected as steps go, and never nothing for a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.batch import RaggedBatch
from services.inference_worker.engine.budget import LONGEST_SECONDS, STRETCH, Budget, StepCurve, calibrate
from services.inference_worker.wire import Limits
from tests.unit.inference_worker.stamped_runner import StampedRunner


def curve() -> StepCurve:
    return StepCurve({1: 0.010, 8: 0.012, 32: 0.024, 64: 0.040})


CURVE = curve()


def test_a_curve_is_straight_between_points_and_goes_on_behind_the_last():
    assert CURVE.seconds(1) == pytest.approx(0.010)
    assert CURVE.seconds(20) == pytest.approx(0.018)
    assert CURVE.seconds(96) == pytest.approx(0.056)


def test_a_curve_never_falls_whatever_was_measured():
    assert StepCurve({1: 0.010, 4: 0.008, 8: 0.020}).seconds(4) == pytest.approx(0.010)


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.integers(1, 300), st.floats(0, 10), min_size=1), st.floats(0, 20))
def test_the_most_rows_within_a_time_take_no_longer(measured: dict[int, float], seconds: float):
    made = StepCurve(measured)
    rows = made.rows(seconds, 1_000)
    assert rows == 0 or made.seconds(rows) <= seconds
    assert rows == 1_000 or made.seconds(rows + 1) > seconds


def test_prompts_get_what_those_who_make_tokens_leave():
    budget = Budget(CURVE, Limits(prefill_tokens=512, step_ms=1.0))
    rows = budget.prompt_rows(8, 8)
    assert CURVE.seconds(8 + rows) <= STRETCH * CURVE.seconds(8) < CURVE.seconds(8 + rows + 1)


def test_where_nobody_makes_tokens_a_step_is_as_long_as_a_cancel_may_wait():
    budget = Budget(CURVE, Limits(prefill_tokens=512))
    assert budget.prompt_rows(0, 9) == 484
    assert CURVE.seconds(484) == pytest.approx(LONGEST_SECONDS)
    assert Budget(CURVE, Limits(prefill_tokens=100)).prompt_rows(0, 9) == 100


def test_a_step_may_take_its_milliseconds_in_any_case():
    assert Budget(CURVE, Limits(prefill_tokens=512, step_ms=56.0)).prompt_rows(1, 1) == 95


def test_a_step_may_take_longer_where_many_are_about_to_make_tokens():
    budget = Budget(CURVE, Limits(prefill_tokens=512))
    assert budget.prompt_rows(8, 32) > budget.prompt_rows(8, 9)


def test_a_prompt_always_gets_a_block():
    steep = StepCurve({1: 0.001, 2: 1.0})
    assert Budget(steep, Limits(prefill_tokens=512)).prompt_rows(1, 1) == 16
    assert Budget(steep, Limits(prefill_tokens=5)).prompt_rows(1, 1) == 5


def test_slow_steps_leave_less_and_one_hiccup_hardly_matters():
    budget = Budget(curve(), Limits(prefill_tokens=512, step_ms=50.0))
    before = budget.prompt_rows(1, 1)
    budget.observe(8, 100.0)
    assert budget.seconds(8) < 1.3 * CURVE.seconds(8)
    for _ in range(200):
        budget.observe(8, 2 * CURVE.seconds(8))
    assert budget.seconds(8) == pytest.approx(2 * CURVE.seconds(8), rel=0.01)
    assert budget.prompt_rows(1, 1) < before


def test_a_calibration_among_noise_is_put_right_by_the_steps_that_follow():
    noisy = StepCurve({1: 0.030, 8: 0.030, 32: 0.031, 64: 0.032, 128: 0.060})
    budget = Budget(noisy, Limits(prefill_tokens=512))
    for _ in range(100):
        for rows in (1, 8, 40, 70, 100):
            budget.observe(rows, 0.010 + 0.0003 * rows)
    for rows in (1, 8, 40, 70, 100):
        assert budget.seconds(rows) == pytest.approx(0.010 + 0.0003 * rows, rel=0.1)


class Metered:
    """A clock that a runner's steps move on."""

    def __init__(self, second_a_row: float) -> None:
        self.now = 0.0
        self.rows: list[int] = []
        self._second_a_row = second_a_row

    def __call__(self) -> float:
        return self.now

    def take(self, batch: RaggedBatch) -> None:
        self.rows.append(batch.rows)
        self.now += 0.001 + self._second_a_row * batch.rows


def test_a_calibration_measures_steps_of_many_sizes():
    clock = Metered(0.0001)
    made = calibrate(StampedRunner(before_step=clock.take), clock)
    assert made.seconds(1) == pytest.approx(0.0011)
    assert made.seconds(48) == pytest.approx(0.0058)
    assert set(clock.rows) == {1, 4, 8, 16, 32, 64, 128, 256}


def test_a_calibration_of_a_slow_model_ends_after_two_sizes():
    clock = Metered(1.0)
    made = calibrate(StampedRunner(before_step=clock.take), clock)
    assert clock.rows == [1, 1, 64]
    assert made.seconds(32) == pytest.approx(32.001)


def test_a_calibration_fits_into_the_smallest_cache():
    clock = Metered(0.0)
    assert calibrate(StampedRunner(blocks=1, before_step=clock.take), clock).seconds(300) > 0
    assert max(clock.rows) == 16
