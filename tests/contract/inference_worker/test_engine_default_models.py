"""The default models, in float32, make what transformers makes of the same files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from services.inference_worker.engine import adapters
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.torch_models import encoder
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from services.inference_worker.wire import Embed, Generate, Limits, Load, LoadModel, Sampling
from services.store.catalogue import Catalogue
from tests.e2e.prose import prose, sentences
from tests.real_models import CHAT, EMBEDDER, store

pytestmark = pytest.mark.timeout(7_200)

TIE = 1e-4
"""Two highest logits that are no further apart may be told apart by rounding alone."""
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A prompt, and what transformers goes on with."""

    prompt: Tokens
    answer: Tokens


class Ticks:
    """A clock that goes on by a millisecond whenever it is read: no step depends on how fast it is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-3
        return self.now


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread: two that spin for each other crawl when the cores have other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", name="oracle")
def _oracle() -> Any:
    """Return transformers' model of the file, as transformers multiplies it out."""
    from transformers import AutoModelForCausalLM, GgufConfig

    folder = store().fetch(Catalogue.read().get(CHAT))
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=next(folder.glob("*.gguf")).name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    ).eval()
    model.generation_config.eos_token_id = None
    return model


@pytest.fixture(scope="module", name="program")
def _program() -> TorchProgram:
    checkpoint = open_checkpoint(store().fetch(Catalogue.read().get(CHAT)))
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    return TorchProgram(checkpoint, program, torch.device("cpu"), torch.float32)


def _in_soak(number: int) -> Any:
    return pytest.param(number, marks=pytest.mark.soak)


@pytest.fixture(scope="module", name="cases", params=[24, _in_soak(200)])
def _cases(oracle: Any, request: pytest.FixtureRequest) -> list[Case]:
    """Return prompts of 1 to 100 tokens, in the long form to 400, their lengths spread by logarithm."""
    prompts = request.param
    lengths = np.geomspace(1, 100 if prompts < 100 else 400, prompts).round().astype(int).tolist()
    return _answered(oracle, lengths, new_tokens=6 if prompts < 100 else 12)


@pytest.fixture(scope="module", name="growing", params=[5, _in_soak(200)])
def _growing(oracle: Any, request: pytest.FixtureRequest) -> list[Case]:
    """Return prompts whose answers begin in one block of the cache and end two further on."""
    return _answered(oracle, [14 + 16 * (number % 3) for number in range(request.param)], new_tokens=20)


def test_the_file_is_read_as_transformers_reads_it(oracle: Any):
    checkpoint = open_checkpoint(store().fetch(Catalogue.read().get(CHAT)))
    read = {name: weight for name, weight in oracle.state_dict().items() if name in checkpoint.names()}
    assert len(read) == len(checkpoint.names())
    for name, weight in read.items():
        np.testing.assert_array_equal(checkpoint.read(name), weight.numpy(), err_msg=name)


def test_greedy_tokens_equal_transformers_alone(oracle: Any, program: TorchProgram, cases: list[Case]):
    generator = _generator(program)
    for case in cases:
        made, _ = _answers(generator, [case])
        _compare(oracle, [case], made)


def test_greedy_tokens_equal_transformers_together_and_again_from_the_prefix_cache(
    oracle: Any, program: TorchProgram, cases: list[Case]
):
    generator = _generator(program)
    crowds = -(-len(cases) // 32)
    for number in range(crowds):
        crowd = cases[number::crowds]  # short ones and long ones
        made, before = _answers(generator, crowd)
        _compare(oracle, crowd, made)
        made, after = _answers(generator, crowd)
        _compare(oracle, crowd, made)
        assert after.cached_tokens_hit > before.cached_tokens_hit


def test_greedy_tokens_equal_transformers_after_preemption(
    oracle: Any, program: TorchProgram, growing: list[Case]
):
    made, load = _answers(_generator(program, blocks=12), growing)
    assert load.preemptions > 0
    _compare(oracle, growing, made)


def test_greedy_tokens_equal_transformers_when_prompts_are_read_in_chunks(
    oracle: Any, program: TorchProgram, cases: list[Case]
):
    generator = _generator(program, prefill_tokens=24)
    made, load = _answers(generator, cases)
    assert load.prompt_tokens_read == sum(len(case.prompt) for case in cases)
    _compare(oracle, cases, made)


def _generator(program: TorchProgram, blocks: int = 1_500, prefill_tokens: int = 512) -> Generator:
    limits = Limits(cache_tokens=blocks * 16, prefill_tokens=prefill_tokens)
    return Generator("m", TorchRunner(program, blocks, frozenset()), limits, Ticks())


def _answers(generator: Generator, cases: list[Case]) -> tuple[list[Tokens], Load]:
    """Answer all at once; return the tokens of each, and the figures at the end."""
    for number, case in enumerate(cases):
        sampling = Sampling(max_tokens=len(case.answer))
        generator.admit(Generate(number, "m", list(case.prompt), sampling, accepted=0.0))
    made: list[list[int]] = [[] for _ in cases]
    while generator.busy:
        report = generator.step()
        for output in report.outputs:
            assert not output.failure
            made[output.id] += output.tokens
    return [tuple(tokens) for tokens in made], report.load


def _answered(oracle: Any, lengths: list[int], new_tokens: int) -> list[Case]:
    """Return pieces of prose of these lengths, each with what transformers alone goes on with."""
    ids = Tokenizer.from_file(str(store().tokenizer(Catalogue.read().get(CHAT)).path)).encode(prose()).ids
    starts = np.linspace(0, len(ids) - max(lengths), len(lengths)).astype(int).tolist()
    prompts = [ids[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    cases = []
    for prompt in prompts:
        with torch.no_grad():
            out = oracle.generate(torch.tensor([prompt]), max_new_tokens=new_tokens, do_sample=False)
        cases.append(Case(tuple(prompt), tuple(out[0, len(prompt) :].tolist())))
    return cases


def _compare(oracle: Any, cases: list[Case], made: list[Tokens]) -> None:
    """Assert that answers are equal up to where the oracle itself is between two tokens."""
    for case, ours in zip(cases, made, strict=True):
        assert len(ours) == len(case.answer)
        places = [place for place, token in enumerate(ours) if token != case.answer[place]]
        if places:
            with torch.no_grad():
                logits = oracle(torch.tensor([case.prompt + ours[: places[0]]])).logits[0, -1]
            best = logits.topk(2)
            assert best.values[0] - best.values[1] <= TIE, (case.prompt[:8], places[0], best)
            assert ours[places[0]] in best.indices


def test_embeddings_equal_mean_pooling():
    from transformers import AutoModel

    spec = Catalogue.read().get(EMBEDDER)
    folder = store().fetch(spec)
    tokenizer = Tokenizer.from_file(str(store().tokenizer(spec).path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    inputs = [each.ids for each in tokenizer.encode_batch(list(sentences()[:60]))]
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        means = [reference(torch.tensor([each])).last_hidden_state[0].mean(0) for each in inputs]
    expected = np.stack([(mean / mean.norm()).numpy() for mean in means])

    runner = encoder(LoadModel("m", str(folder), "embed", "float32"), "cpu", threads=1)
    model = Encoder("m", runner, Limits())
    model.admit(Embed(1, "m", inputs, "mean", normalize=True, dimensions=384, accepted=0.0))
    values = b""
    while model.busy:
        values += b"".join(output.vectors.values for output in model.step().outputs if output.vectors)
    got = np.frombuffer(values, "<f4").reshape(-1, 384)
    assert np.abs(got - expected).max() <= 1e-5
