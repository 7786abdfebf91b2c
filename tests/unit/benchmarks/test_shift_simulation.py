"""The monitor's detector of shifts: the simulation is the detector, and its promises hold."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shift_simulation import MeanShifts, delays, false_alarms
from benchmarks.topic_drift import false_drifts, topics, windows_until_found
from services.monitor.detectors.mean_shift import MeanShift


def test_the_simulation_does_what_the_detector_does():
    numbers = np.random.default_rng(1)
    values = numbers.normal(5.0, 3.0, (3_000, 6))
    values[1_500:, :4] += [3.0, -1.5, 1.5, 300.0]
    streams, singles = MeanShifts(6, warm_up=500), [MeanShift(warm_up=500) for _ in range(6)]
    for row in values:
        told = [single.observe(value) for single, value in zip(singles, row.tolist(), strict=True)]
        assert streams.observe(row).tolist() == told


def test_streams_that_never_change_are_left_alone():
    assert false_alarms(streams=400, length=5_000) <= 2


def test_shifts_are_found_in_time():
    assert np.median(delays(1.0, 50, before=4_000, most=500)) <= 50
    assert np.median(delays(0.25, 50, before=4_000, most=2_000)) <= 600


@pytest.mark.soak
def test_in_a_hundred_million_points_there_are_at_most_a_hundred_false_alarms():
    assert false_alarms(streams=2_000, length=50_000) <= 100


@pytest.mark.soak
def test_shifts_of_a_thousand_streams_are_found_in_time():
    assert np.median(delays(1.0, 1_000)) <= 50
    assert np.median(delays(0.25, 1_000)) <= 600


@pytest.mark.soak
def test_another_topic_is_found_within_two_windows_and_the_same_one_is_no_drift():
    first, second = topics()
    for windows in windows_until_found(first, second, share=1.0, tries=5).values():
        assert max(windows) <= 2
    assert max(false_drifts(first, tries=50).values()) == 0
