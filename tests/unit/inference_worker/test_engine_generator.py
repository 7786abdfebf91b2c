"""What the engine makes is what transformers makes, alone and in company; who leaves is gone at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import LoadedModel, load
from services.inference_worker.wire import Finish, Generate, Limits, Sampling
from tests.unit.inference_worker.tiny_models import CONTEXT, END, decoders, greedy, llama, prompt, save

LIMITS = Limits(cache_tokens=4_096, prefill_tokens=32, running=16)
LENGTHS = (1, 2, 5, 31, 32, 33, 70, 130, 300)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Tiny:
    """A loaded tiny model, and the same one as transformers has it."""

    loaded: LoadedModel
    reference: Any

    def generator(self, limits: Limits = LIMITS, clock: Clock | None = None) -> Generator:
        runner = TransformersRunner(self.loaded, limits.cache_tokens)
        return Generator("tiny", runner, limits, clock or Clock())


def tiny(folder: Path) -> Tiny:
    from transformers import AutoModelForCausalLM

    return Tiny(
        load(folder, "generate", "float32", "cpu"), AutoModelForCausalLM.from_pretrained(folder).eval()
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(llama(tmp_path_factory.mktemp("llama")))


def request(number: int, token_ids: list[int], deadline: float | None = None, **sampling: Any) -> Generate:
    sampling.setdefault("max_tokens", 16)
    return Generate(number, "tiny", list(token_ids), Sampling(**sampling), 99.0, deadline)


def answers(generator: Generator) -> dict[int, list[int]]:
    """Step until nothing is left; return what each request got."""
    made: dict[int, list[int]] = {}
    while generator.busy:
        for output in generator.step().outputs:
            made.setdefault(output.id, []).extend(output.tokens)
    return made


@pytest.mark.parametrize("name", decoders())
def test_greedy_answers_equal_those_of_transformers_alone_and_together(name: str, tmp_path: Path):
    both = tiny(save(*decoders()[name], tmp_path))
    prompts = [prompt(length, seed=length) for length in LENGTHS]
    expected = [greedy(both.reference, each, 16) for each in prompts]
    assert len({tuple(each) for each in expected}) > len(LENGTHS) // 2
    generator = both.generator()
    alone = []
    for number, each in enumerate(prompts):
        generator.admit(request(number, each))
        alone.append(answers(generator)[number])
    assert alone == expected
    for number, each in enumerate(prompts):
        generator.admit(request(number, each))
    together = answers(generator)
    assert [together[number] for number in range(len(prompts))] == expected


def test_requests_that_come_later_join_without_a_trace(model: Tiny):
    prompts = [prompt(length, seed=3) for length in (4, 60, 9, 150, 20, 2)]
    expected = [greedy(model.reference, each, 16) for each in prompts]
    generator, made = model.generator(), {number: list[int]() for number in range(len(prompts))}
    for number, each in enumerate(prompts):
        generator.admit(request(number, each))
        for output in [*generator.step().outputs, *generator.step().outputs]:
            made[output.id] += output.tokens
    for number, tokens in answers(generator).items():
        made[number] += tokens
    assert list(made.values()) == expected


def test_a_place_that_was_used_before_leaves_nothing_in_the_next_answer(model: Tiny):
    generator = model.generator(Limits(cache_tokens=CONTEXT, running=2))
    for seed in range(6):
        token_ids = prompt(40 + 50 * seed, seed)
        generator.admit(request(seed, token_ids))
        assert answers(generator)[seed] == greedy(model.reference, token_ids, 16)


def test_the_end_token_ends_an_answer_and_is_not_part_of_it(model: Tiny):
    expected = greedy(model.reference, prompt(8), 16)
    end = expected[5]
    runner = TransformersRunner(model.loaded, LIMITS.cache_tokens, frozenset({end}))
    assert runner.end_token_ids == {END, end}
    generator = Generator("tiny", runner, LIMITS)
    generator.admit(request(1, prompt(8)))
    made, finish = collect(generator)
    assert made == expected[: expected.index(end)]
    assert finish.reason == "stop"
    generator.admit(request(2, prompt(8), ignore_eos=True))
    made, finish = collect(generator)
    assert made == expected
    assert finish.reason == "length"


def collect(generator: Generator) -> tuple[list[int], Finish]:
    """Step until nothing is left; return the tokens and the one finish."""
    made, finishes = [], []
    while generator.busy:
        for output in generator.step().outputs:
            made += output.tokens
            finishes += [output.finish] if output.finish else []
    (finish,) = finishes
    return made, finish


def test_a_stop_token_ends_an_answer_and_is_not_part_of_it(model: Tiny):
    generator, token_ids = model.generator(), prompt(12, seed=5)
    expected = greedy(model.reference, token_ids, 16)
    stop = expected[5]
    generator.admit(request(1, token_ids, stop_token_ids=(stop,), ignore_eos=True))
    made, finish = collect(generator)
    assert made == expected[: expected.index(stop)]
    assert finish.reason == "stop"


def test_an_answer_ends_where_the_context_does(model: Tiny):
    generator = model.generator()
    generator.admit(request(1, prompt(CONTEXT - 3), max_tokens=50, ignore_eos=True))
    made, finish = collect(generator)
    assert len(made) == 3
    assert finish.reason == "length"


def test_a_cancelled_request_is_in_no_later_step_and_its_place_is_free(model: Tiny):
    generator = model.generator()
    for number in (1, 2):
        generator.admit(request(number, prompt(8), max_tokens=100, ignore_eos=True))
    for _ in range(3):
        generator.step()
    assert generator.cancel(1)
    report = generator.step()
    assert [output.id for output in report.outputs] == [2]
    assert report.load.running == 1
    generator.cancel(2)
    report = generator.step()
    assert (report.step, report.outputs) == (4, [])
    assert report.load.free_cache_tokens == report.load.cache_tokens
    assert report.load.outstanding_tokens == 0
    assert not generator.busy


def test_a_passed_deadline_is_told_once_and_frees_the_place(model: Tiny):
    clock = Clock()
    generator = model.generator(clock=clock)
    generator.admit(request(1, prompt(8), deadline=101.0, max_tokens=100, ignore_eos=True))
    generator.step()
    clock.now = 101.0
    report = generator.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "deadline")]
    assert report.load.running == 0
    assert not generator.busy


def test_one_bad_step_fails_its_requests_and_the_model_goes_on(model: Tiny, caplog: pytest.LogCaptureFixture):
    generator = model.generator()
    generator.admit(request(1, [10**9]))  # the worker refuses this; an engine must survive it
    report = generator.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "fault")]
    generator.admit(request(2, prompt(5)))
    assert answers(generator)[2] == greedy(model.reference, prompt(5), 16)


def test_a_seeded_answer_repeats_itself_alone_and_in_company(model: Tiny):
    generator = model.generator()
    asked = {"temperature": 1.5, "seed": 11, "top_p": 0.95, "max_tokens": 24, "ignore_eos": True}
    generator.admit(request(1, prompt(20), **asked))
    alone = answers(generator)[1]
    for number in range(2, 9):
        generator.admit(request(number, prompt(number * 9, seed=number), temperature=1.0, ignore_eos=True))
    generator.admit(request(9, prompt(20), **asked))
    assert answers(generator)[9] == alone


def test_a_request_is_timed_and_counted(model: Tiny):
    clock = Clock()
    generator = model.generator(clock=clock)
    generator.admit(request(1, prompt(40), max_tokens=3, ignore_eos=True))
    finish, report = None, None
    while generator.busy:
        report = generator.step()
        finish = next((output.finish for output in report.outputs if output.finish), None)
        clock.now += 1
    assert finish is not None
    assert report is not None
    # Two steps read the prompt of 40 tokens in chunks of 32; the second makes the first token.
    assert (finish.timings.started, finish.timings.first_token, finish.timings.ended) == (100, 101, 103)
    assert (report.load.finished_requests, report.load.generated_tokens) == (1, 3)


def test_log_probabilities_are_those_of_the_model(model: Tiny):
    import torch

    generator, token_ids = model.generator(), prompt(9)
    generator.admit(request(1, token_ids, max_tokens=4, logprobs=3, ignore_eos=True))
    made, told = [], []
    while generator.busy:
        for output in generator.step().outputs:
            made += output.tokens
            told += output.logprobs
    with torch.no_grad():
        rows = model.reference(torch.tensor([token_ids + made])).logits[0].log_softmax(-1)
    for place, (token, logprob) in enumerate(zip(made, told, strict=True), start=len(token_ids) - 1):
        assert logprob.token == token
        assert logprob.logprob == pytest.approx(float(rows[place, token]), abs=1e-4)
        assert [top for top, _ in logprob.top] == rows[place].topk(3).indices.tolist()
