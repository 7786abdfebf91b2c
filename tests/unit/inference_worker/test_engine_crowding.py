"""A step gets fewer threads while neighbours take the cores, and all of them otherwise."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.crowding import PAUSE_S, Crowding, RunDelay


class Machine:
    """A machine with a clock of its own, on which a step takes as long as the test says."""

    def __init__(self, times: dict[int, float], share: float = 0.0, noise: float = 0.0) -> None:
        self.times, self.share = times, share
        self._noise = random.Random(3), noise
        self._now = self._waited = 0.0
        self.crowding = Crowding(max(times), lambda: self._waited, lambda: self._now)

    def run(self, steps: int, rows: int = 8) -> list[int]:
        """Make so many steps; return how many threads each had."""
        return [self._step(rows) for _ in range(steps)]

    def run_for(self, seconds: float) -> list[int]:
        end, made = self._now + seconds, []
        while self._now < end:
            made.append(self._step(8))
        return made

    def _step(self, rows: int) -> int:
        threads = self.crowding.begin()
        source, noise = self._noise
        took = self.times[threads] * (1 + noise * source.random()) * rows / 8
        self._now += took
        self._waited += took * (self.share if threads == max(self.times) else 0.0)
        self.crowding.end(rows)
        return threads


QUIET = {1: 0.027, 2: 0.016}
CROWDED = {1: 0.030, 2: 0.037}


def test_alone_on_the_machine_all_threads_work_always():
    assert set(Machine(QUIET, noise=0.5).run(2_000)) == {2}


def test_long_steps_without_a_wait_for_cores_are_no_reason():
    machine = Machine(QUIET)
    machine.run(100)
    machine.times = CROWDED
    assert set(machine.run(1_000)) == {2}


def test_where_neighbours_take_the_cores_a_thread_is_dropped_if_that_is_faster():
    machine = Machine(QUIET)
    machine.run(100)
    machine.times, machine.share = CROWDED, 0.4
    machine.run_for(2 * PAUSE_S)
    made = machine.run_for(20 * PAUSE_S)
    assert made.count(1) / len(made) > 0.9


def test_and_it_is_kept_where_it_helps_in_spite_of_them():
    machine = Machine(QUIET, share=0.4)
    made = machine.run_for(20 * PAUSE_S)
    assert made.count(2) / len(made) > 0.9


def test_when_they_have_gone_all_threads_are_back():
    machine = Machine(CROWDED, share=0.4)
    machine.run_for(10 * PAUSE_S)
    machine.times, machine.share = QUIET, 0.0
    machine.run_for(10 * PAUSE_S)
    assert set(machine.run(500)) == {2}


def test_of_many_threads_one_after_the_other_is_dropped():
    times = {threads: 0.01 + 0.01 * abs(threads - 4) for threads in range(1, 9)}
    machine = Machine(times, noise=0.02)
    machine._waited = 0.0
    machine.share = 0.5
    machine.crowding._waited = _ever_more()  # it waits whatever it does
    machine.run_for(100 * PAUSE_S)
    made = machine.run_for(100 * PAUSE_S)
    assert sum(3 <= threads <= 5 for threads in made) == len(made)


def _ever_more() -> Callable[[], float]:
    total = 0.0

    def waited() -> float:
        nonlocal total
        total += 0.02
        return total

    return waited


def test_steps_of_different_sizes_are_compared_by_what_such_steps_take():
    machine = Machine(QUIET, share=0.4)
    source = random.Random(5)
    made = [machine._step(source.choice((1, 8, 8, 8, 64, 300))) for _ in range(3_000)]
    assert made.count(2) / len(made) > 0.6


def test_where_the_system_does_not_count_the_number_stays():
    machine = Machine(CROWDED)
    machine.crowding._waited = lambda: None
    assert set(machine.run(1_000)) == {2}


@settings(max_examples=50)
@given(st.integers(1, 5), st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0, 1)), max_size=200))
def test_there_is_always_a_thread_and_never_more_than_all(threads: int, steps: list[tuple[float, float]]):
    machine = Machine(dict.fromkeys(range(1, threads + 1), 1.0))
    for seconds, share in steps:
        machine.times = dict.fromkeys(range(1, threads + 1), seconds)
        machine.share = share
        assert 1 <= machine._step(8) <= threads


def test_no_threads_are_none():
    with pytest.raises(ValueError, match="one thread"):
        Crowding(0)


def test_linux_counts_what_a_thread_waits_for_each_thread_anew():
    waited = RunDelay()
    found = [waited()]
    thread = threading.Thread(target=lambda: found.append(waited()))
    thread.start()
    thread.join()
    found.append(waited())
    assert len({each is None for each in found}) == 1
    assert all(each is None or each >= 0 for each in found)
