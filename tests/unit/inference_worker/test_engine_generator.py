"""A decoder at work: the same text alone, in company, from the cache, drafted or put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from services.inference_worker.engine.batch import RaggedBatch
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.runner import DeviceLost
from services.inference_worker.wire import Embed, Finish, Generate, Limits, Sampling
from tests.unit.inference_worker.stamped_runner import VOCABULARY, StampedRunner, answer, greedy, logits_after

CONTEXT = 512
LENGTHS = (1, 2, 5, 31, 32, 33, 70, 130, 300)
CRAMPED = Limits(prefill_tokens=32, running=16)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def generator(limits: Limits = CRAMPED, clock: Clock | None = None, **runner: Any) -> Generator:
    runner = {"blocks": 256, "context_length": CONTEXT, **runner}
    return Generator("m", StampedRunner(**runner), limits, clock or Clock())


def prompt(length: int, seed: int = 0) -> list[int]:
    return [3 + (seed * 101 + place * 37 + place * place) % (VOCABULARY - 3) for place in range(length)]


def request(number: int, token_ids: list[int], **asked: Any) -> Generate:
    extra = {key: asked.pop(key) for key in ("deadline", "tenant", "priority") if key in asked}
    return Generate(number, "m", token_ids, Sampling(**{"max_tokens": 16, **asked}), 99.0, **extra)


def answers(model: Generator) -> dict[int, list[int]]:
    """Step until nothing is left; return what each request got."""
    made: dict[int, list[int]] = {}
    while model.busy:
        for output in model.step().outputs:
            assert not output.failure
            made.setdefault(output.id, []).extend(output.tokens)
    return made


def answered(model: Generator) -> tuple[list[int], Finish]:
    """Step until nothing is left; return the tokens and the one finish."""
    made, finishes = [], []
    while model.busy:
        for output in model.step().outputs:
            made += output.tokens
            finishes += [output.finish] if output.finish else []
    (finish,) = finishes
    return made, finish


def alone(token_ids: list[int], **asked: Any) -> list[int]:
    """Return the answer without an engine."""
    return answer(request(1, token_ids, **asked), CONTEXT)


def test_greedy_answers_are_the_models_alone_and_together():
    prompts = [prompt(length, seed=length) for length in LENGTHS]
    expected = [greedy(each, 16) for each in prompts]
    model = generator()
    for number, each in enumerate(prompts):
        model.admit(request(number, each))
        assert answers(model)[number] == expected[number]
    for number, each in enumerate(prompts):
        model.admit(request(number, each))
    together = answers(model)
    assert [together[number] for number in range(len(prompts))] == expected


def test_requests_that_come_later_join_without_a_trace():
    prompts = [prompt(length, seed=3) for length in (4, 60, 9, 150, 20, 2)]
    model, made = generator(), {number: list[int]() for number in range(len(prompts))}
    for number, each in enumerate(prompts):
        model.admit(request(number, each))
        for output in [*model.step().outputs, *model.step().outputs]:
            made[output.id] += output.tokens
    for number, tokens in answers(model).items():
        made[number] += tokens
    assert list(made.values()) == [greedy(each, 16) for each in prompts]


def test_a_place_that_was_used_before_leaves_nothing_in_the_next_answer():
    model = generator(blocks=CONTEXT // 16)
    for seed in range(6):
        token_ids = prompt(40 + 50 * seed, seed)
        model.admit(request(seed, token_ids))
        assert answers(model)[seed] == greedy(token_ids, 16)


def test_a_conversation_that_goes_on_reads_only_what_is_new():
    model, said = generator(), prompt(70)
    for turn, hit in enumerate((0, 80, 112)):
        model.admit(request(turn, said, max_tokens=20))
        made, finish = answered(model)
        assert (made, finish.cached_tokens) == (greedy(said, 20), hit)
        said = [*said, *made, *prompt(10, seed=turn)]
    load = model.step().load
    assert (load.cached_tokens_hit, load.prompt_tokens_read) == (192, 70 + 20 + 18)


def test_tenants_do_not_find_each_others_prefixes():
    model = generator()
    for number, (tenant, hit) in enumerate((("a", 0), ("b", 0), ("a", 48))):
        model.admit(request(number, prompt(60), tenant=tenant))
        assert answered(model)[1].cached_tokens == hit


@pytest.mark.parametrize("asked", [{}, {"temperature": 0.8, "top_p": 0.9}], ids=["greedy", "sampled"])
def test_who_was_put_back_goes_on_as_if_nothing_had_been(asked: dict[str, float]):
    prompts = [prompt(30, seed) for seed in range(8)]
    expected = [
        alone(each, max_tokens=100, seed=seed, ignore_eos=True, **asked) for seed, each in enumerate(prompts)
    ]
    model = generator(blocks=CONTEXT // 16)
    for seed, each in enumerate(prompts):
        model.admit(request(seed, each, max_tokens=100, seed=seed, ignore_eos=True, **asked))
    assert [made for _, made in sorted(answers(model).items())] == expected
    load = model.step().load
    assert load.preemptions > 0
    assert load.prompt_tokens_read == 8 * 30
    assert load.free_cache_tokens == CONTEXT


@pytest.mark.parametrize("asked", [{}, {"temperature": 0.2}], ids=["greedy", "sampled"])
def test_drafts_save_steps_and_change_nothing(asked: dict[str, float]):
    model, looping = generator(), prompt(5) * 12
    model.admit(request(1, looping, max_tokens=60, seed=5, ignore_eos=True, **asked))
    made, _ = answered(model)
    assert made == alone(looping, max_tokens=60, seed=5, ignore_eos=True, **asked)
    report = model.step()
    assert report.load.drafted_tokens > report.load.accepted_draft_tokens > 10
    assert report.step < 50


def test_the_end_token_ends_an_answer_and_is_not_part_of_it():
    expected = greedy(prompt(8), 16)
    model = generator(end_token_ids=frozenset({expected[5]}))
    model.admit(request(1, prompt(8)))
    made, finish = answered(model)
    assert (made, finish.reason) == (expected[: expected.index(expected[5])], "stop")
    model.admit(request(2, prompt(8), ignore_eos=True))
    made, finish = answered(model)
    assert (made, finish.reason) == (expected, "length")


def test_a_stop_token_ends_an_answer_and_is_not_part_of_it():
    expected = greedy(prompt(12, seed=5), 16)
    model = generator()
    model.admit(request(1, prompt(12, seed=5), stop_token_ids=(expected[5],), ignore_eos=True, logprobs=0))
    made, finish = answered(model)
    assert (made, finish.reason) == (expected[: expected.index(expected[5])], "stop")


def test_an_answer_ends_where_the_context_does():
    model = generator()
    model.admit(request(1, prompt(CONTEXT - 3), max_tokens=50))
    made, finish = answered(model)
    assert (len(made), finish.reason) == (3, "length")


def test_a_cancelled_request_is_in_no_later_step_and_its_place_is_free():
    model = generator()
    for number in (1, 2):
        model.admit(request(number, prompt(8), max_tokens=100))
    for _ in range(3):
        model.step()
    assert model.cancel(1)
    assert not model.cancel(1)
    report = model.step()
    assert [output.id for output in report.outputs] == [2]
    assert report.load.running == 1
    model.cancel(2)
    report = model.step()
    assert (report.step, report.outputs) == (4, [])
    assert report.load.free_cache_tokens == 256 * 16
    assert report.load.outstanding_tokens == 0
    assert not model.busy


def test_a_passed_deadline_is_told_once_and_frees_the_place():
    clock = Clock()
    model = generator(clock=clock)
    model.admit(request(1, prompt(8), deadline=101.0, max_tokens=100))
    model.step()
    clock.now = 101.0
    report = model.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "deadline")]
    assert report.load.running == 0
    assert not model.busy


def test_who_waits_keeps_the_model_busy_so_that_no_deadline_is_slept_through():
    clock = Clock()
    model = generator(Limits(running=1), clock)
    model.admit(request(1, prompt(8), max_tokens=100))
    model.admit(request(2, prompt(8), deadline=101.0))
    model.step()
    assert model.busy
    clock.now = 101.0
    assert [(each.id, each.failure) for each in model.step().outputs] == [(2, "deadline"), (1, "")]


class Faulty:
    """Raises an error in one step after it was armed."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, batch: RaggedBatch) -> None:
        error, self.error = self.error, None
        if error:
            raise error


def test_one_bad_step_fails_its_requests_and_the_others_go_on(caplog: pytest.LogCaptureFixture):
    fault = Faulty()
    model = generator(Limits(running=2), before_step=fault)
    for number in (1, 2, 3):
        model.admit(request(number, prompt(5, number)))
    fault.error = RuntimeError("out of something")
    report = model.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "fault"), (2, "fault")]
    assert answers(model) == {3: greedy(prompt(5, 3), 16)}
    assert model.step().load.free_cache_tokens == 256 * 16
    assert "out of something" in caplog.text


def test_a_lost_device_ends_the_engine():
    fault = Faulty()
    model = generator(before_step=fault)
    model.admit(request(1, prompt(5)))
    fault.error = DeviceLost()
    with pytest.raises(DeviceLost):
        model.step()


def test_a_seeded_answer_repeats_itself_alone_and_in_company():
    asked = {"temperature": 1.5, "seed": 11, "top_p": 0.95, "max_tokens": 24, "ignore_eos": True}
    model = generator()
    for number in range(2, 9):
        model.admit(request(number, prompt(number * 9, seed=number), temperature=1.0))
    model.admit(request(9, prompt(20), **asked))
    assert answers(model)[9] == alone(prompt(20), **asked)


def test_a_request_is_timed_and_counted():
    clock = Clock()
    model = generator(clock=clock)
    model.admit(request(1, prompt(40), max_tokens=3))
    finish, report = None, None
    while model.busy:
        report = model.step()
        finish = next((output.finish for output in report.outputs if output.finish), None)
        clock.now += 1
    assert finish is not None
    assert report is not None
    # Two steps read the prompt of 40 tokens in chunks of 32; the second makes the first token.
    assert (finish.timings.started, finish.timings.first_token, finish.timings.ended) == (100, 101, 103)
    assert (report.load.finished_requests, report.load.generated_tokens) == (1, 3)


def test_log_probabilities_are_those_of_the_model_for_drafted_tokens_too():
    model, looping = generator(), prompt(5) * 12
    model.admit(request(1, looping, max_tokens=30, logprobs=3))
    made, told = [], []
    while model.busy:
        for output in model.step().outputs:
            made += output.tokens
            told += output.logprobs
    assert len(made) == len(told) == 30
    for place, (token, logprob) in enumerate(zip(made, told, strict=True)):
        row = logits_after(looping + made[:place]).astype(np.float64)
        row -= np.log(np.exp(row).sum())
        assert logprob.token == token
        assert logprob.logprob == pytest.approx(row[token], abs=1e-5)
        assert [value for _, value in logprob.top] == pytest.approx(sorted(row)[:-4:-1], abs=1e-5)


def test_what_the_worker_should_not_have_let_through_is_refused():
    model = generator()
    with pytest.raises(TypeError):
        model.admit(Embed(1, "m", [[1]], "mean", normalize=True, dimensions=4, accepted=0.0))
    with pytest.raises(ValueError, match="limit"):
        model.admit(request(1, prompt(CONTEXT)))
    assert not model.busy
