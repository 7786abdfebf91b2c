"""Scheduler, blocks, drafts and sampler together, in any order of events: the text is always the same.

A few blocks, a few tenants, prompts that share beginnings: whatever comes, leaves, is late, put back or found
in the cache, each answer is the one that its request defines, nobody waits for ever, and no block is lost.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.inference_worker.engine.batch import BLOCK_TOKENS, RaggedBatch
from services.inference_worker.engine.budget import STRETCH
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.sequence import Chunk
from services.inference_worker.engine.speculation import MOST_ROWS
from services.inference_worker.wire import Generate, Limits, Output, Sampling
from tests.unit.inference_worker.stamped_runner import END, StampedRunner, answer

BEGINNINGS = [[], [7] * 40, [11, 12, 13, 14, 15] * 9, [*([7] * 24), *range(20, 60)]]
SAMPLINGS: list[dict[str, Any]] = [
    {},
    {"ignore_eos": True},
    {"temperature": 0.3, "top_p": 0.9, "ignore_eos": True},
    {"temperature": 1.0, "top_k": 8, "min_p": 0.02, "logprobs": 1},
    {"repetition_penalty": 1.3, "frequency_penalty": 0.2, "ignore_eos": True},
]


def seconds(rows: int) -> float:
    """Return how long the machine's runner takes for a step."""
    return 0.001 + 0.0001 * rows


class Engine(RuleBasedStateMachine):
    """A generator at work, and everything that its users and its clock may do to it."""

    steps = 0
    """Steps of all engines so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.faulty = False
        self.requests: dict[int, Generate] = {}
        self.made: dict[int, list[int]] = {}
        self.live: set[int] = set()
        self.next_id = 0

    @initialize(
        blocks=st.integers(6, 20),
        running=st.integers(1, 8),
        prefill=st.sampled_from([1, 16, 40, 200]),
        step_ms=st.sampled_from([0.0, 3.0]),
    )
    def load(self, blocks: int, running: int, prefill: int, step_ms: float) -> None:
        self.context = min(blocks * BLOCK_TOKENS, 160)
        self.limits = Limits(running=running, prefill_tokens=prefill, step_ms=step_ms)
        self.runner = StampedRunner(blocks, self.context, frozenset({END}), self.take_time)
        self.model = Generator("m", self.runner, self.limits, lambda: self.now)
        self.pool, self.scheduler = self.model._pool, self.model._scheduler
        self.plan = self.scheduler.plan
        self.scheduler.plan = self.checked_plan  # type: ignore[method-assign]

    def take_time(self, batch: RaggedBatch) -> None:
        self.now += seconds(batch.rows)
        if self.faulty:
            self.faulty = False
            raise RuntimeError("a step fails now and then")

    def checked_plan(self, now: float) -> list[Chunk]:
        """Return what a step holds, after a look at who is in it and at how much it is."""
        ready = {one.id for one in self.scheduler._running if one.pending == 1}
        chunks = self.plan(now)
        self.check_who(chunks)
        self.check_rows(
            [chunk for chunk in chunks if chunk.sequence.id in ready],
            sum(chunk.length for chunk in chunks if chunk.sequence.id not in ready),
        )
        return chunks

    def check_who(self, chunks: list[Chunk]) -> None:
        ids = [chunk.sequence.id for chunk in chunks]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= self.live, "somebody who has left is in a step"
        for number in ids:
            deadline = self.requests[number].deadline
            assert deadline is None or deadline > self.now, "somebody late is in a step"

    def check_rows(self, decodes: list[Chunk], prompts: int) -> None:
        rows = sum(1 + len(chunk.draft) for chunk in decodes)
        assert len(decodes) <= self.limits.running
        assert rows <= max(MOST_ROWS, len(decodes))
        assert prompts <= self.limits.prefill_tokens
        company = min(len(self.live), self.limits.running)
        spare = max(self.limits.step_ms / 1000, STRETCH * seconds(max(rows, company)))
        assert not decodes or prompts <= BLOCK_TOKENS or seconds(rows + prompts) <= spare * 1.001

    @rule(
        beginning=st.sampled_from(BEGINNINGS),
        own=st.lists(st.integers(3, 63), min_size=1, max_size=30) | st.just([7] * 8),
        new=st.integers(1, 120),
        sampling=st.sampled_from(SAMPLINGS),
        tenant=st.sampled_from(["", "a", "b"]),
        priority=st.integers(-1, 1),
        patience=st.sampled_from([None, None, None, None, 0.01, 0.1]),
    )
    def submit(self, *, beginning: list[int], own: list[int], new: int, patience: float | None, **asked: Any):
        prompt = (beginning + own)[: self.context - 1]
        sampling = Sampling(max_tokens=new, seed=self.next_id, **asked["sampling"])
        deadline = None if patience is None else self.now + patience
        extra = (deadline, asked["tenant"], asked["priority"])
        request = Generate(self.next_id, "m", prompt, sampling, self.now, *extra)
        self.next_id += 1
        self.requests[request.id], self.made[request.id] = request, []
        self.live.add(request.id)
        self.model.admit(request)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int):
        number = sorted(self.live)[which % len(self.live)]
        assert self.model.cancel(number)
        self.live.remove(number)
        assert answer(self.requests[number], self.context)[: len(self.made[number])] == self.made[number]

    @rule(some=st.sampled_from([0.001, 0.01, 0.1, 30.0]))
    def wait(self, some: float):
        self.now += some

    @rule()
    def fault(self):
        self.faulty = bool(self.live)

    @precondition(lambda self: self.live)
    @rule(count=st.sampled_from([1, 3, 10, 40]))
    def step(self, count: int):
        for _ in range(count):
            self.step_once()

    def step_once(self) -> None:
        late = {each for each in self.live if (self.requests[each].deadline or self.now + 1) <= self.now}
        before, faulty = self.runner.steps, self.faulty
        report = self.model.step()
        Engine.steps += 1
        told = [output.id for output in report.outputs]
        assert len(set(told)) == len(told)
        assert {output.id for output in report.outputs if output.failure == "deadline"} == late
        assert faulty or not any(output.failure == "fault" for output in report.outputs), "a step went wrong"
        assert self.runner.steps - before == (len(self.live) > len(late)), "whoever is here is worked for"
        for output in report.outputs:
            self.take(output)
        assert report.load.running + report.load.queued == len(self.live)

    def take(self, output: Output) -> None:
        assert output.id in self.live
        made = self.made[output.id]
        made += output.tokens
        if output.finish:
            assert made == answer(self.requests[output.id], self.context)
        if output.finish or output.failure:
            self.live.remove(output.id)

    @invariant()
    def no_block_is_lost_or_shared_between_tenants(self):
        if not hasattr(self, "pool"):
            return
        holders = [0] * self.pool.blocks
        tenants: dict[int, set[str]] = {}
        for one in self.scheduler._all.values():
            for block in one.table.ids[: one.table.held].tolist():
                holders[block] += 1
                tenants.setdefault(block, set()).add(one.request.tenant)
        assert holders == self.pool._holders
        assert all(len(each) == 1 for each in tenants.values())
        free = {*self.pool._blank, *self.pool._cached}
        assert free == {block for block, count in enumerate(holders) if not count}
        assert len(free) == self.pool.free
        assert sorted(self.pool._index.values()) == [b for b, key in enumerate(self.pool._keys) if key]
        assert all(self.pool._keys[block] is None for block in self.pool._blank)

    @invariant()
    def what_is_computed_is_what_the_cache_holds(self):
        for one in self.scheduler._all.values() if hasattr(self, "pool") else ():
            assert one.table.published * BLOCK_TOKENS <= one.computed <= len(one.tokens)
            for index, block in enumerate(one.table.ids[: one.table.published].tolist()):
                place = block * BLOCK_TOKENS
                expected = one.tokens[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS]
                assert self.runner.tokens[place : place + BLOCK_TOKENS].tolist() == expected

    def teardown(self) -> None:
        """Nobody new comes: all are answered, within as many steps as they have tokens twice over."""
        if not hasattr(self, "model"):
            return
        self.faulty = False
        most = 2 * self.model._load().outstanding_tokens + 10
        steps = 0
        while self.live:
            self.step_once()
            steps += 1
            assert steps <= most, "somebody starves"
        self.no_block_is_lost_or_shared_between_tenants()
        assert self.pool.free == self.pool.blocks


SEEDED = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_every_answer_is_the_one_that_was_asked_for():
    run_state_machine_as_test(Engine, settings=SEEDED)


@pytest.mark.soak
def test_it_is_so_for_hundreds_of_thousands_of_steps():
    Engine.steps = 0
    at_length = settings(SEEDED, max_examples=1_500, stateful_step_count=80, derandomize=False)
    run_state_machine_as_test(Engine, settings=at_length)
    assert Engine.steps > 100_000
