"""Decoders of transformers in the engine say what they say without it: alone, together, cached, put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import LoadedModel, load
from services.inference_worker.wire import Generate, Limits, Sampling
from tests.unit.inference_worker.tiny_models import END, decoders, greedy, llama, prompt, save

LIMITS = Limits(prefill_tokens=32, running=16)
LENGTHS = (1, 2, 5, 31, 32, 33, 70, 130, 300)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let tiny products run on one thread: two wait for each other, on a busy machine for ever."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Tiny:
    """A loaded tiny model, and the same one as transformers has it."""

    loaded: LoadedModel
    reference: Any

    def generator(self, blocks: int = 256) -> Generator:
        return Generator("tiny", TransformersRunner(self.loaded, blocks), LIMITS)


def tiny(folder: Path) -> Tiny:
    from transformers import AutoModelForCausalLM

    return Tiny(
        load(folder, "generate", "float32", "cpu"), AutoModelForCausalLM.from_pretrained(folder).eval()
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(llama(tmp_path_factory.mktemp("llama")))


def request(number: int, token_ids: list[int], **sampling: Any) -> Generate:
    return Generate(number, "tiny", list(token_ids), Sampling(**{"max_tokens": 16, **sampling}), 99.0)


def answers(generator: Generator, prompts: list[list[int]], **sampling: Any) -> list[list[int]]:
    """Ask for all answers at once and step until they are there."""
    made: dict[int, list[int]] = {}
    for number, each in enumerate(prompts):
        generator.admit(request(number, each, **sampling))
    while generator.busy:
        for output in generator.step().outputs:
            assert not output.failure
            made.setdefault(output.id, []).extend(output.tokens)
    return [made[number] for number in range(len(prompts))]


@pytest.mark.parametrize("name", decoders())
def test_greedy_answers_equal_those_of_transformers_alone_together_and_from_the_cache(
    name: str, tmp_path: Path
):
    both = tiny(save(*decoders()[name], tmp_path))
    prompts = [prompt(length, seed=length) for length in LENGTHS]
    expected = [greedy(both.reference, each, 16) for each in prompts]
    assert len({tuple(each) for each in expected}) > len(LENGTHS) // 2
    generator = both.generator()
    assert [answers(generator, [each])[0] for each in prompts] == expected
    assert answers(generator, prompts) == expected
    load = generator.step().load
    assert load.cached_tokens_hit == sum((length - 1) // 16 * 16 for length in LENGTHS)


def test_who_gave_its_blocks_away_says_the_same(model: Tiny):
    prompts = [prompt(20, seed) for seed in range(6)]
    expected = [greedy(model.reference, each, 40) for each in prompts]
    generator = model.generator(blocks=10)
    assert answers(generator, prompts, max_tokens=40) == expected
    assert generator.step().load.preemptions > 0


def test_the_models_own_end_token_ends_an_answer(model: Tiny):
    end = greedy(model.reference, prompt(8), 16)[5]
    runner = TransformersRunner(model.loaded, 64, frozenset({end}))
    assert runner.end_token_ids == {END, end}
    generator = Generator("tiny", runner, LIMITS)
    made = answers(generator, [prompt(8)])[0]
    assert made == greedy(model.reference, prompt(8), 16)[: len(made)]
    assert end not in made


def test_one_bad_step_fails_its_requests_and_the_model_goes_on(model: Tiny, caplog: pytest.LogCaptureFixture):
    generator = model.generator()
    generator.admit(request(1, [10**9]))  # the worker refuses this; an engine must survive it
    report = generator.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "fault")]
    assert answers(generator, [prompt(5)]) == [greedy(model.reference, prompt(5), 16)]


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
