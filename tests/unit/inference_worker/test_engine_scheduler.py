"""Who is in a step: streams first, prompts in chunks, everybody in turn, nobody who left."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.scheduler import Scheduler
from services.inference_worker.engine.sequence import Segment, Sequence
from services.inference_worker.wire import Limits, Sampling


def sequence(number: int, prompt: int = 4, new: int = 4, deadline: float = math.inf) -> Sequence:
    sampling = Sampling(max_tokens=new)
    return Sequence(number, [7] * prompt, prompt, prompt + new, sampling, frozenset({2}), 0.0, deadline)


def advance(scheduler: Scheduler, now: float = 0.0) -> list[tuple[int, int]]:
    """Make a step in which every sequence's next token is 9; return (id, tokens read) of each segment."""
    segments = scheduler.plan(now)
    read = [(segment.sequence.id, segment.length) for segment in segments]
    for segment in segments:
        complete, at = segment.complete, segment.sequence
        at.computed = segment.end
        if complete and at.accept(9, now):
            scheduler.finish(at)
    return read


def test_a_short_prompt_is_read_at_once_and_then_a_token_a_step():
    scheduler = Scheduler(Limits())
    scheduler.admit(sequence(1, prompt=5, new=3))
    assert [advance(scheduler) for _ in range(4)] == [[(1, 5)], [(1, 1)], [(1, 1)], []]


def test_streams_go_on_while_a_long_prompt_is_read_in_chunks():
    scheduler = Scheduler(Limits(prefill_tokens=8))
    scheduler.admit(sequence(1, prompt=2, new=10))
    assert advance(scheduler) == [(1, 2)]
    scheduler.admit(sequence(2, prompt=20))
    assert [advance(scheduler) for _ in range(4)] == [
        [(1, 1), (2, 8)],
        [(1, 1), (2, 8)],
        [(1, 1), (2, 4)],
        [(1, 1), (2, 1)],
    ]


def test_short_prompts_share_a_step():
    scheduler = Scheduler(Limits(prefill_tokens=10))
    for number in (1, 2, 3):
        scheduler.admit(sequence(number, prompt=4))
    assert advance(scheduler) == [(1, 4), (2, 4), (3, 2)]


def test_no_more_run_than_there_are_places():
    scheduler = Scheduler(Limits(running=2))
    for number in (1, 2, 3):
        scheduler.admit(sequence(number, new=1))
    assert advance(scheduler) == [(1, 4), (2, 4)]
    assert advance(scheduler) == [(3, 4)]


def test_a_sequence_waits_until_all_it_may_need_is_free():
    scheduler = Scheduler(Limits(cache_tokens=20))
    scheduler.admit(sequence(1, prompt=4, new=8))
    scheduler.admit(sequence(2, prompt=4, new=8))
    advance(scheduler)
    assert (scheduler.running, scheduler.waiting, scheduler.free_tokens) == (1, 1, 8)
    assert scheduler.cancel(1)
    advance(scheduler)
    assert (scheduler.running, scheduler.waiting, scheduler.free_tokens) == (1, 0, 8)


def test_the_first_in_the_queue_is_not_overtaken():
    scheduler = Scheduler(Limits(cache_tokens=20))
    scheduler.admit(sequence(1, prompt=4, new=8))
    scheduler.admit(sequence(2, prompt=10, new=8))
    scheduler.admit(sequence(3, prompt=1, new=1))
    assert advance(scheduler) == [(1, 4)]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_cancelled_sequence_is_not_in_the_next_step_and_its_place_is_free(steps: int):
    scheduler = Scheduler(Limits(prefill_tokens=3))
    scheduler.admit(sequence(1))
    for _ in range(steps):
        advance(scheduler)
    assert scheduler.cancel(1)
    assert not scheduler.cancel(1)
    assert scheduler.plan(0) == []
    assert scheduler.free_tokens == Limits().cache_tokens
    assert scheduler.outstanding_tokens == 0


def test_deadlines_end_waiting_and_running_sequences_alike():
    scheduler = Scheduler(Limits(running=1))
    scheduler.admit(sequence(1, deadline=5))
    scheduler.admit(sequence(2, deadline=5))
    scheduler.admit(sequence(3))
    advance(scheduler)
    assert scheduler.expire(4.9) == []
    assert {late.id for late in scheduler.expire(5)} == {1, 2}
    assert advance(scheduler) == [(3, 4)]


def test_what_can_never_fit_is_refused():
    with pytest.raises(ValueError, match="never fit"):
        Scheduler(Limits(cache_tokens=10)).admit(sequence(1, prompt=8, new=8))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10)), min_size=1, max_size=20),
    st.integers(1, 16),
    st.integers(1, 6),
)
def test_everybody_gets_what_they_asked_for_and_all_places_come_back(
    asked: list[tuple[int, int]], prefill: int, running: int
):
    limits = Limits(running=running, cache_tokens=64, prefill_tokens=prefill)
    scheduler = Scheduler(limits)
    sequences = [sequence(number, prompt, new) for number, (prompt, new) in enumerate(asked)]
    for each in sequences:
        scheduler.admit(each)
    while scheduler.running or scheduler.waiting:
        segments = scheduler.plan(0)
        assert segments
        assert len({segment.sequence.id for segment in segments}) == len(segments)
        assert _prefilled(segments) <= prefill
        advance_planned(scheduler, segments)
        assert scheduler.running <= running
    assert [len(each.tokens) - each.prompt_length for each in sequences] == [new for _, new in asked]
    assert scheduler.free_tokens == 64


def _prefilled(segments: list[Segment]) -> int:
    return sum(segment.length for segment in segments if not segment.sequence.decoding)


def advance_planned(scheduler: Scheduler, segments: list[Segment]) -> None:
    for segment in segments:
        complete = segment.complete
        segment.sequence.computed = segment.end
        if complete and segment.sequence.accept(9, 0):
            scheduler.finish(segment.sequence)
