"""Who is in a step: streams first, prompts in chunks, everybody in turn, nobody who left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.blocks import BlockPool
from services.inference_worker.engine.budget import Budget, StepCurve
from services.inference_worker.engine.scheduler import Scheduler
from services.inference_worker.engine.sequence import Chunk, Sequence
from services.inference_worker.wire import Generate, Limits, Sampling

FLAT = StepCurve({1: 0.0})  # any number of rows costs the same: prompts get `prefill_tokens`
STEEP = StepCurve({1: 1.0, 2: 100.0})  # beside a stream, a prompt gets a block a step


def scheduler(blocks: int = 64, curve: StepCurve = FLAT, **limits: Any) -> Scheduler:
    made = Limits(**limits)
    return Scheduler(made, BlockPool(blocks), Budget(curve, made))


def sequence(number: int, prompt: int = 4, new: int = 4, **asked: Any) -> Sequence:
    tokens = [1_000 * number + place for place in range(prompt)]
    asked = {"accepted": float(number), **asked}
    return Sequence(
        Generate(number, "m", tokens, Sampling(max_tokens=new), **asked), prompt + new, frozenset({2})
    )


def advance(planner: Scheduler, now: float = 0.0) -> list[tuple[int, int]]:
    """Make a step in which new tokens never repeat; return (id, tokens read) of each chunk."""
    chunks = planner.plan(now)
    read = [(chunk.sequence.id, chunk.length) for chunk in chunks]
    for chunk in chunks:
        take(planner, chunk, now)
    return read


def take(planner: Scheduler, chunk: Chunk, now: float = 0.0) -> None:
    one, chooses = chunk.sequence, chunk.chooses
    planner.advance(chunk, one.computed + chunk.length, int(chooses))
    if chooses and one.accept(100_000 + len(one.tokens), now):
        planner.finish(one)


def test_a_short_prompt_is_read_at_once_and_then_a_token_a_step():
    planner = scheduler()
    planner.admit(sequence(1, prompt=5, new=3))
    assert [advance(planner) for _ in range(4)] == [[(1, 5)], [(1, 1)], [(1, 1)], []]


def test_streams_go_on_while_a_long_prompt_is_read_in_chunks():
    planner = scheduler(curve=STEEP)
    planner.admit(sequence(1, prompt=2, new=10))
    assert advance(planner) == [(1, 2)]
    planner.admit(sequence(2, prompt=40))
    assert [advance(planner) for _ in range(4)] == [
        [(1, 1), (2, 16)],
        [(1, 1), (2, 16)],
        [(1, 1), (2, 8)],
        [(1, 1), (2, 1)],
    ]


def test_short_prompts_share_a_step():
    planner = scheduler(prefill_tokens=10)
    for number in (1, 2, 3):
        planner.admit(sequence(number, prompt=4))
    assert advance(planner) == [(1, 4), (2, 4), (3, 2)]


def test_a_short_prompt_does_not_wait_for_a_long_one_that_goes_on_all_the_same():
    planner = scheduler(prefill_tokens=48)
    planner.admit(sequence(1, prompt=200, new=50))
    assert advance(planner) == [(1, 48)]
    planner.admit(sequence(2, prompt=30))
    assert advance(planner) == [(2, 30), (1, 16)]
    planner.admit(sequence(3, prompt=60))
    assert advance(planner) == [(2, 1), (3, 32), (1, 16)]


def test_a_chunk_ends_with_a_block_so_that_others_can_share_it():
    planner = scheduler(prefill_tokens=40)
    planner.admit(sequence(1, prompt=100))
    assert [advance(planner) for _ in range(4)] == [[(1, 32)], [(1, 32)], [(1, 36)], [(1, 1)]]


def test_no_more_run_than_there_are_places():
    planner = scheduler(running=2)
    for number in (1, 2, 3):
        planner.admit(sequence(number, new=1))
    assert advance(planner) == [(1, 4), (2, 4)]
    assert advance(planner) == [(3, 4)]


def test_the_first_in_the_line_is_not_overtaken():
    planner = scheduler(blocks=3)
    planner.admit(sequence(1, prompt=16, new=8))
    planner.admit(sequence(2, prompt=30, new=8))
    planner.admit(sequence(3, prompt=1, new=1))
    assert advance(planner) == [(1, 16)]


def test_a_prompt_that_somebody_has_read_is_not_read_again():
    planner = scheduler()
    planner.admit(sequence(1, prompt=50))
    advance(planner)
    again = Sequence(
        Generate(2, "m", [1_000 + place for place in range(60)], Sampling(max_tokens=9), 0.0), 69, frozenset()
    )
    planner.admit(again)
    assert advance(planner)[1:] == [(2, 12)]
    assert (again.cached, planner.cached_tokens, planner.read_tokens) == (48, 48, 62)


def test_two_who_read_the_same_at_once_go_on_where_the_first_is():
    planner = scheduler(prefill_tokens=48)
    for number in (1, 2):
        planner.admit(
            Sequence(Generate(number, "m", [7] * 64 + [number], Sampling(max_tokens=9), 0.0), 74, frozenset())
        )
    assert advance(planner) == [(1, 48)]
    assert advance(planner) == [(1, 17), (2, 17)]


def test_when_blocks_run_out_the_newest_gives_way_and_comes_back():
    planner = scheduler(blocks=5)
    old, new = sequence(1, prompt=16, new=60), sequence(2, prompt=16, new=30)
    planner.admit(old)
    planner.admit(new)
    for _ in range(34):
        advance(planner)
    assert (planner.preemptions, new.preemptions, planner.running, planner.waiting) == (1, 1, 1, 1)
    assert len(old.tokens) == 16 + 34
    made = len(new.tokens)
    while planner.running + planner.waiting:
        advance(planner)
    assert len(new.tokens) == 16 + 30 > made
    assert planner.preemptions == 1
    assert planner.free_tokens == 80


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_cancelled_sequence_is_not_in_the_next_step_and_its_place_is_free(steps: int):
    planner = scheduler(prefill_tokens=3)
    planner.admit(sequence(1))
    for _ in range(steps):
        advance(planner)
    assert planner.cancel(1)
    assert not planner.cancel(1)
    assert planner.plan(0) == []
    assert planner.free_tokens == 64 * 16
    assert planner.outstanding_tokens == 0


def test_deadlines_end_waiting_and_running_sequences_alike():
    planner = scheduler(running=1)
    planner.admit(sequence(1, deadline=5))
    planner.admit(sequence(2, deadline=5))
    planner.admit(sequence(3))
    advance(planner)
    assert planner.expire(4.9) == []
    assert {late.id for late in planner.expire(5)} == {1, 2}
    assert advance(planner) == [(3, 4)]


def test_what_can_never_fit_is_refused():
    with pytest.raises(ValueError, match="never fit"):
        scheduler(blocks=1).admit(sequence(1, prompt=9, new=8))


def test_outstanding_tokens_are_those_yet_to_be_read_or_made():
    planner = scheduler(running=1)
    planner.admit(sequence(1, prompt=4, new=4))
    planner.admit(sequence(2, prompt=10, new=10))
    assert planner.outstanding_tokens == 28
    advance(planner)
    assert planner.outstanding_tokens == 24
    assert planner.cancel(2)
    assert planner.outstanding_tokens == 4


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10)), min_size=1, max_size=20),
    st.integers(1, 16),
    st.integers(1, 6),
)
def test_everybody_gets_what_they_asked_for_and_all_blocks_come_back(
    asked: list[tuple[int, int]], prefill: int, running: int
):
    planner = scheduler(blocks=4, running=running, prefill_tokens=prefill)
    sequences = [sequence(number, prompt, new) for number, (prompt, new) in enumerate(asked)]
    for each in sequences:
        planner.admit(each)
    while planner.running or planner.waiting:
        chunks = planner.plan(0)
        assert chunks
        assert len({chunk.sequence.id for chunk in chunks}) == len(chunks)
        assert sum(chunk.length for chunk in chunks if chunk.sequence.pending > 1) <= prefill
        for chunk in chunks:
            take(planner, chunk)
        assert planner.running <= running
    assert [len(each.tokens) - each.prompt_length for each in sequences] == [new for _, new in asked]
    assert planner.free_tokens == 64


def test_tenants_share_the_places_that_are_free_at_once():
    planner = scheduler(running=4)
    for number in range(6):
        planner.admit(sequence(number, tenant="greedy"))
    for number in (10, 11):
        planner.admit(sequence(number, tenant="modest"))
    assert sorted(number for number, _ in advance(planner)) == [0, 1, 10, 11]


def test_nobody_waits_for_ever_behind_the_important_and_other_tenants():
    planner = scheduler(running=2)
    planner.admit(sequence(0, accepted=0.0, priority=-1, tenant="patient"))
    steps = 0
    while 0 in planner._all:
        steps += 1
        for tenant, number in (("patient", 2 * steps), ("pushy", 2 * steps + 1)):
            planner.admit(sequence(number, accepted=float(steps), priority=1, tenant=tenant))
        advance(planner)
        assert steps < 200
    assert steps > 4
