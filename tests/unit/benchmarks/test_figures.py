"""The arithmetic of the tables."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Goal, Rates, Streaming, Wave, percentile


def test_a_percentile_lies_linearly_between_its_neighbours():
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([10, 20], 0.99) == pytest.approx(19.9)
    assert percentile([7], 0.99) == 7


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs values"):
        percentile([], 0.5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_lies_within_its_values(values: list[float], share: float):
    found = percentile(values, share)
    assert min(values) <= found or math.isclose(min(values), found)
    assert found <= max(values) or math.isclose(max(values), found)


def test_a_waves_rate_counts_all_tokens_until_the_last_came():
    wave = Wave([[1.0, 1.5, 2.0], [1.0, 3.0, 4.0]])
    assert wave.tokens_per_second == 1.5
    assert wave.first_tokens == [1.0, 1.0]
    assert wave.gaps == [0.5, 0.5, 2.0, 1.0]


def test_tokens_that_come_together_count_once_in_gaps_and_each_in_the_rate():
    wave = Wave([[1.0, 1.0, 2.0]])
    assert wave.gaps == [1.0]
    assert wave.together == 1.5
    assert wave.tokens_per_second == 1.5


def test_a_row_has_the_median_of_its_rounds_and_the_percentiles_of_all_answers():
    rounds = [Wave([[0.1, 0.2]]), Wave([[0.3, 0.5]]), Wave([[0.2, 0.4]])]
    row = Streaming.of(rounds)
    assert row.rate == pytest.approx(5.0)
    assert row.first_ms == pytest.approx(200)
    assert row.gap_ms == pytest.approx(200)


def test_json_has_rounds_and_their_median():
    assert Rates((10.004, 30.0, 20.0)).told() == {"rates": [10.0, 30.0, 20.0], "rate": 20.0}


def test_a_goal_is_reached_at_one():
    assert Goal("twice as fast", measured=3.0, required=2.0).reached == 1.5
    assert Goal("within 400 ms", measured=200.0, required=400.0, most=True).reached == 2.0
    assert Goal("within 400 ms", measured=800.0, required=400.0, most=True).reached == 0.5


def test_what_was_not_measured_has_not_reached_its_goal():
    assert Goal("within 400 ms", measured=0.0, required=400.0, most=True).reached == 0.0
