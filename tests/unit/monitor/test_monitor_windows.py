"""The recent past of a series."""

from __future__ import annotations

from services.monitor.windows import BucketWindow, RateWindow


def test_a_rate_is_the_mean_of_the_last_ten_whole_seconds():
    window = RateWindow()
    for second in range(100, 130):
        window.add(second + 0.5, 7.0)
    assert window.per_second(130.2, since=0.0) == 7.0


def test_the_second_that_runs_does_not_count_yet():
    window = RateWindow()
    window.add(130.1, 50.0)
    assert window.per_second(130.9, since=0.0) == 0.0
    assert window.per_second(131.0, since=0.0) == 5.0


def test_what_is_older_than_ten_seconds_is_gone():
    window = RateWindow()
    window.add(100.0, 50.0)
    assert window.per_second(110.5, since=0.0) == 5.0
    assert window.per_second(111.0, since=0.0) == 0.0


def test_a_young_monitor_divides_by_its_age():
    window = RateWindow()
    window.add(100.2, 6.0)
    window.add(101.2, 6.0)
    assert window.per_second(102.0, since=100.0) == 6.0
    assert window.per_second(100.9, since=100.0) == 0.0


def test_windows_of_two_processes_add_up():
    first, second = RateWindow(), RateWindow()
    for window in (first, second):
        for moment in (100.0, 101.0, 105.0):
            window.add(moment, 5.0)
    first.absorb(second)
    assert first.per_second(110.0, since=0.0) == 3.0


def test_bucket_counts_are_those_of_the_last_minute():
    window = BucketWindow(2)
    window.add(100.0, (1, 0), 0.5)
    window.add(130.0, (0, 2), 3.0)
    assert list(window.counts(159.0)) == [1, 2]
    assert window.maximum(159.0) == 3.0
    assert list(window.counts(166.0)) == [0, 2]
    assert list(window.counts(196.0)) == [0, 0]
    assert window.maximum(196.0) is None


def test_one_measurement_without_a_maximum_leaves_it_open():
    window = BucketWindow(1)
    window.add(100.0, (1,), 5.0)
    window.add(101.0, (1,), None)
    assert window.maximum(102.0) is None


def test_bucket_windows_of_two_processes_add_up():
    first, second = BucketWindow(1), BucketWindow(1)
    first.add(100.0, (1,), 1.0)
    second.add(90.0, (2,), 5.0)
    second.add(100.0, (4,), 2.0)
    first.absorb(second)
    assert list(first.counts(101.0)) == [7]
    assert first.maximum(101.0) == 5.0
    assert list(first.counts(156.0)) == [5]


def test_a_window_that_lives_long_stays_small():
    rates, buckets = RateWindow(), BucketWindow(16)
    for second in range(10_000):
        rates.add(float(second), 1.0)
        buckets.add(float(second), (1,) * 16, 1.0)
    assert len(rates._slots) == 11
    assert len(buckets._slots) <= 13
    assert set(buckets.counts(9_999.0)) == {65}
