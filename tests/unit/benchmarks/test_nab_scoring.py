"""The scorer of the Numenta Anomaly Benchmark, by cases that can be worked out by hand."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab_scoring import Profile, Recording, probation, read_profiles, read_recordings, score

STANDARD = Profile(detection=1.0, miss=1.0, false_alarm=0.11)
BEGAN = datetime(2026, 1, 1)  # noqa: DTZ001 - the benchmark's times have no zone


def recording(points: int = 100, *windows: tuple[int, int]) -> Recording:
    times = [BEGAN + timedelta(minutes=5 * each) for each in range(points)]
    return Recording("series", times, [0.0] * points, windows)


def alarms(points: int, *places: int) -> np.ndarray:
    scores = np.zeros(points)
    scores[list(places)] = 1.0
    return scores


def s(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


def test_who_finds_every_window_at_its_first_point_and_nothing_else_has_100():
    assert score([recording(100, (50, 59))], [alarms(100, 50)], STANDARD).score == pytest.approx(100.0)


def test_who_finds_nothing_has_0():
    found = score([recording(100, (50, 59))], [alarms(100, 30)], STANDARD)
    assert (found.score, found.threshold, found.found, found.false_alarms) == (0.0, math.inf, 0, 0)


def test_a_later_detection_earns_less_and_only_the_first_counts():
    place = -(59 - 55 + 1) / 10
    expected = 100 * (1 + s(place) / s(-1)) / 2
    once = score([recording(100, (50, 59))], [alarms(100, 55)], STANDARD)
    thrice = score([recording(100, (50, 59))], [alarms(100, 55, 57, 59)], STANDARD)
    assert once.score == pytest.approx(expected)
    assert thrice.score == pytest.approx(expected)


def test_a_false_alarm_soon_after_a_window_costs_less_than_one_long_after():
    window = (50, 59)
    soon = score([recording(200, window)], [alarms(200, 50, 62)], STANDARD)
    late = score([recording(200, window)], [alarms(200, 50, 120)], STANDARD)
    before = score([recording(200, window)], [alarms(200, 50, 40)], STANDARD)
    assert soon.score == pytest.approx(100 * (2 + 0.11 * s(3 / 9)) / 2)
    assert late.score == before.score == pytest.approx(100 * (2 - 0.11) / 2)


def test_nothing_counts_at_the_beginning():
    assert probation(100) == 15
    assert probation(22_695) == 750
    found = score([recording(100, (50, 59))], [alarms(100, 3, 14, 50)], STANDARD)
    assert found.score == pytest.approx(100.0)
    assert found.false_alarms == 0


def test_one_threshold_holds_for_all_series():
    loud = np.zeros(100)
    loud[[50, 80]] = 5.0, 4.0
    calm = np.zeros(100)
    calm[50] = 4.5
    found = score([recording(100, (50, 59)), recording(100, (50, 59))], [loud, calm], STANDARD)
    assert found.threshold == 4.5
    assert found.score == pytest.approx(100.0)
    assert (found.found, found.false_alarms) == (2, 0)


def test_a_threshold_may_be_given():
    series, scores = recording(100, (50, 59)), np.zeros(100)
    scores[[40, 50]] = 3.0, 2.0
    assert score([series], [scores], STANDARD, threshold=1.0).score == pytest.approx(100 * (2 - 0.11) / 2)
    assert score([series], [scores], STANDARD, threshold=3.0).score == pytest.approx(-100 * 0.11 / 2)
    assert score([series], [scores], STANDARD, threshold=4.0).found == 0


def test_a_folder_is_read_as_the_benchmark_lays_it_out(tmp_path: Path):
    for name in ("data/kind", "labels", "config"):
        (tmp_path / name).mkdir(parents=True)
    lines = ["timestamp,value", *(f"2026-01-01 00:{minute:02}:00,{minute}.5" for minute in range(20))]
    (tmp_path / "data/kind/one.csv").write_text("\n".join(lines) + "\n")
    window = ["2026-01-01 00:05:00.000000", "2026-01-01 00:09:00.000000"]
    (tmp_path / "labels/combined_windows.json").write_text(json.dumps({"kind/one.csv": [window]}))
    weights = {"tpWeight": 1.0, "fnWeight": 2.0, "fpWeight": 0.11, "tnWeight": 1.0}
    (tmp_path / "config/profiles.json").write_text(json.dumps({"low": {"CostMatrix": weights}}))
    (read,) = read_recordings(tmp_path)
    assert (read.name, read.values[3], read.windows) == ("kind/one.csv", 3.5, [(5, 9)])
    assert read_profiles(tmp_path) == {"low": Profile(1.0, 2.0, 0.11)}
