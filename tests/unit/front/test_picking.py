"""Calls go where a prefix is cached, then where the least is outstanding."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from gateway.front.picking import Picker
from gateway.front.workers import ModelReport, Worker, WorkerReport


@dataclass
class Load:
    address: str
    outstanding_tokens: int = 0


def test_of_two_the_less_loaded_is_taken() -> None:
    picker = Picker(chance=random.Random(1))
    busy, idle = Load("a", 900), Load("b", 10)
    assert {picker.pick([busy, idle], ()).address for _ in range(20)} == {"b"}


def test_of_many_the_most_loaded_is_never_taken() -> None:
    picker = Picker(chance=random.Random(1))
    loads = [Load(str(number), number) for number in range(5)]
    taken = Counter(picker.pick(loads, ()).address for _ in range(500))
    assert taken["4"] == 0
    assert taken["0"] > taken["1"] > taken["2"] > taken["3"] > 0


def test_the_longest_cached_prefix_goes_before_the_load() -> None:
    cached = {"a": 0, "b": 64, "c": 64}
    picker = Picker(lambda address, _: cached[address], random.Random(1))
    assert {picker.pick([Load("a"), Load("b", 9), Load("c", 5)], ()).address for _ in range(20)} == {"c"}


def test_a_workers_load_is_what_it_reports_and_what_it_was_given_since() -> None:
    worker = Worker("a:1")
    model = {("m", "1"): ModelReport(ready=True, outstanding_tokens=100)}
    worker.receive(WorkerReport(model))
    with worker.holding(40):
        with worker.holding(7):
            assert worker.outstanding_tokens == 147
        assert worker.outstanding_tokens == 140
        worker.receive(WorkerReport(model))
        assert worker.outstanding_tokens == 100
        with worker.holding(5):
            assert worker.outstanding_tokens == 105
    assert worker.outstanding_tokens == 100


def test_a_worker_that_has_left_is_gone_once_its_last_call_has_ended() -> None:
    gone: list[str] = []
    worker = Worker("a:1", gone.append)
    with worker.holding(1):
        with worker.holding(1):
            worker.leave()
        assert gone == []
    assert gone == ["a:1"]
