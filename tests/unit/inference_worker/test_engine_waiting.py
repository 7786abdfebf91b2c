"""The waiting line: fair between tenants, the important first among one's own, nobody for ever."""

from __future__ import annotations

import pytest

from services.inference_worker.engine.deadlines import Deadlines
from services.inference_worker.engine.sequence import Sequence
from services.inference_worker.engine.waiting import PRIORITY_SECONDS, WaitingLine
from services.inference_worker.wire import Generate, Sampling


def sequence(number: int, tenant: str = "", priority: int = 0, accepted: float = 0.0) -> Sequence:
    request = Generate(
        number, "m", [7] * 4, Sampling(max_tokens=4), accepted, tenant=tenant, priority=priority
    )
    return Sequence(request, 8, frozenset())


def line(*waiting: Sequence) -> WaitingLine:
    made = WaitingLine()
    for each in waiting:
        made.add(each)
    return made


def taken(waiting: WaitingLine, cost: float = 0.0) -> list[int]:
    """Take everybody, charging each one's tenant `cost`; return their numbers."""
    numbers = []
    while waiting.head():
        one = waiting.take()
        waiting.charge(one.request.tenant, cost)
        numbers.append(one.id)
    return numbers


def test_a_tenants_own_go_in_the_order_of_arrival():
    assert taken(line(*(sequence(number, accepted=5.0) for number in range(5)))) == [0, 1, 2, 3, 4]


def test_the_important_go_first():
    assert taken(line(sequence(1), sequence(2, priority=1), sequence(3, priority=-1))) == [2, 1, 3]


def test_who_has_waited_long_enough_goes_before_the_important():
    late = sequence(2, priority=1, accepted=PRIORITY_SECONDS + 0.1)
    assert taken(line(sequence(1, accepted=0.0), late)) == [1, 2]


def test_tenants_take_turns_however_much_one_asks_for():
    greedy = [sequence(number, "greedy", priority=9) for number in range(6)]
    modest = [sequence(10 + number, "modest") for number in range(2)]
    assert taken(line(*greedy, *modest), cost=5.0) == [0, 10, 1, 11, 2, 3, 4, 5]


def test_who_was_served_more_waits_until_the_others_have_had_as_much():
    waiting = line(sequence(1, "a"), sequence(2, "b"), sequence(3, "b"))
    waiting.charge("a", 10.0)
    assert taken(waiting, cost=6.0) == [2, 3, 1]


def test_a_pause_saves_nothing_up():
    waiting = line(*(sequence(number, "busy") for number in range(4)))
    assert [waiting.take().id for _ in range(2)] == [0, 1]
    waiting.charge("busy", 100.0)
    for number in (10, 11, 12):
        waiting.add(sequence(number, "back"))
    order = taken(waiting, cost=1.0)
    assert sorted(order[:2]) == [2, 10]
    assert sorted(order[:4]) == [2, 3, 10, 11]


def test_a_tenant_of_whom_all_have_left_starts_level_again():
    gone = sequence(1, "a")
    waiting = line(gone, sequence(2, "b"), sequence(3, "b"))
    waiting.remove(gone)
    waiting.charge("b", 50.0)
    for number in (4, 5, 6):
        waiting.add(sequence(number, "a"))
    assert sorted(taken(waiting, cost=1.0)[:4]) == [2, 3, 4, 5]


def test_who_was_put_back_goes_first_and_only_once():
    waiting = line(sequence(1), sequence(2, priority=9), sequence(3))
    first, second = waiting.take(), waiting.take()
    assert (first.id, second.id, len(waiting)) == (2, 1, 1)
    waiting.put_back(second)
    waiting.put_back(first)
    assert taken(waiting) == [2, 1, 3]


def test_who_has_left_is_nowhere():
    first, second, third = (sequence(number) for number in (1, 2, 3))
    waiting = line(first, second, third)
    waiting.put_back(waiting.take())
    waiting.remove(first)
    waiting.remove(second)
    assert second not in waiting
    assert (len(waiting), waiting.tokens) == (1, 8)
    assert taken(waiting) == [3]
    assert waiting.tokens == 0
    with pytest.raises(LookupError):
        waiting.take()


def test_counters_of_many_tenants_that_came_once_are_forgotten():
    waiting = WaitingLine()
    for number in range(3_000):
        waiting.add(sequence(number, f"tenant {number}"))
        taken(waiting, cost=1.0)
    assert len(waiting._served) < 1_100
    assert len(waiting._lines) < 3


def test_deadlines_tell_the_living_in_their_order_and_once():
    live = {1: "", 2: "", 3: ""}
    deadlines = Deadlines(live)
    for number, at in ((1, 5.0), (2, 3.0), (3, 9.0)):
        deadlines.add(number, at)
    assert deadlines.passed(2.9) == []
    assert deadlines.passed(5.0) == [2, 1]
    del live[3]
    assert deadlines.passed(100.0) == []


def test_deadlines_of_those_who_left_are_forgotten():
    live: dict[int, str] = {}
    deadlines = Deadlines(live)
    for number in range(5_000):
        live[number] = ""
        deadlines.add(number, 1e9 + number)
        del live[number]
    assert len(deadlines._heap) < 1_100
