"""Runners of torch: what a step answers is what transformers answers, however sequences are cut and mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference_worker.engine import adapters
from services.inference_worker.engine.batch import Floats, Part, pack
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.runner import DeviceLost, Runner
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import load
from tests.unit.inference_worker.tiny_models import CONTEXT, END, VOCABULARY, decoders, prompt, save

BLOCKS = 64
_GROUPED: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,
    "eos_token_id": END,
}


def adapted() -> dict[str, tuple[Any, Any]]:
    """Return decoders that have a program, as `decoders` does."""
    import transformers as t

    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    return {
        "llama: grouped heads": decoders()["llama: grouped heads"],
        "qwen2: biases": decoders()["qwen2: biases"],
        "llama: tied, biases, larger heads, far angles": (
            t.LlamaForCausalLM,
            t.LlamaConfig(
                tie_word_embeddings=True,
                attention_bias=True,
                mlp_bias=True,
                head_dim=32,
                rope_parameters=llama3,
                **_GROUPED,
            ),
        ),
        "mistral: no window": (t.MistralForCausalLM, t.MistralConfig(sliding_window=None, **_GROUPED)),
    }


def by_program(folder: Path, record: Any = None) -> Runner:
    checkpoint = open_checkpoint(folder)
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    model = TorchProgram(checkpoint, program, torch.device("cpu"), torch.float32)
    return TorchRunner(model, BLOCKS, checkpoint.end_token_ids, record)


def by_transformers(folder: Path) -> Runner:
    return TransformersRunner(load(folder, "generate", "float32", "cpu"), BLOCKS)


CASES = [(by_program, adapted, name) for name in adapted()]
CASES += [(by_transformers, decoders, name) for name in decoders()]


@pytest.fixture(
    params=CASES, ids=[f"{make.__name__} {name}" for make, _, name in CASES], scope="module", name="pair"
)
def _pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runner, Callable[[list[int]], Floats]]:
    """Return a runner, and what gives transformers' logits after each token of a sequence."""
    make, models, name = request.param
    folder = save(*models()[name], tmp_path_factory.mktemp("model"))
    return make(folder), oracle(models()[name][0], folder)


def oracle(model_class: Any, folder: Path) -> Callable[[list[int]], Floats]:
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(tokens: list[int]) -> Floats:
        with torch.no_grad():
            return model(torch.tensor([tokens])).logits[0].numpy()

    return logits


def close(ours: Floats, theirs: Floats) -> None:
    assert np.abs(ours - theirs).max() <= 2e-5 * max(1.0, float(np.abs(theirs).max()))


def test_logits_are_those_of_transformers_in_one_step(pair: Any):
    runner, logits = pair
    tokens = prompt(70)
    result = runner.step(pack([Part(tokens, 0, range(5), 70)]))
    close(result.logits, logits(tokens))
    assert result.likeliest.tolist() == logits(tokens).argmax(1).tolist()


def test_chunks_drafts_and_company_change_nothing(pair: Any):
    runner, logits = pair
    long, short = prompt(90, seed=1), prompt(40, seed=2)
    far, near = [9, 3, 60, 7, 2, 5], [20, 21, 1]
    runner.step(pack([Part(long[:33], 0, far, 0), Part(short[:39], 0, near, 0)]))
    runner.step(pack([Part(long[33:34], 33, far, 0)]))
    result = runner.step(pack([Part(short[39:], 39, near, 1), Part(long[34:80], 34, far, 1)]))
    close(result.logits, np.stack([logits(short)[39], logits(long)[79]]))
    # Drafted rows: all are wanted; the ones that turn out wrong are written over.
    runner.step(pack([Part([5, 6, 7, 8], 80, far, 4)]))
    result = runner.step(pack([Part(long[80:], 80, far, 10)]))
    close(result.logits, logits(long)[80:])


def test_a_prefix_in_shared_blocks_is_read_by_both(pair: Any):
    runner, logits = pair
    shared, one, other = prompt(32, seed=3), prompt(9, seed=4), prompt(5, seed=5)
    runner.step(pack([Part(shared, 0, [30, 31], 0)]))
    result = runner.step(pack([Part(one, 32, [30, 31, 32], 1), Part(other, 32, [30, 31, 33], 1)]))
    close(result.logits, np.stack([logits(shared + one)[-1], logits(shared + other)[-1]]))


def test_a_step_of_which_nothing_is_wanted_answers_nothing(pair: Any):
    runner, _ = pair
    result = runner.step(pack([Part(prompt(3), 0, [0], 0)]))
    assert result.logits.shape == (0, runner.vocabulary_size)
    assert result.likeliest.shape == (0,)


def test_a_runner_tells_what_its_files_say(tmp_path: Path):
    folder = save(*adapted()["llama: grouped heads"], tmp_path)
    for runner in (by_program(folder), by_transformers(folder)):
        assert (runner.vocabulary_size, runner.end_token_ids) == (VOCABULARY, {END})
        assert runner.blocks == BLOCKS
        assert runner.context_length == CONTEXT
    checkpoint = open_checkpoint(folder)
    weights = 4 * sum(checkpoint.read(name).size for name in checkpoint.names())
    keys_and_values = 2 * 2 * 16 * 2 * 16 * 4  # both, layers, tokens, heads, size, bytes
    assert by_transformers(folder).memory_bytes == weights + BLOCKS * keys_and_values
    assert by_program(folder).memory_bytes == weights + (BLOCKS + 1) * keys_and_values


class FakeGraph:
    """Stands in for a CUDA graph: replaying does the work again on the same tensors."""

    made = 0

    def __init__(self, work: Callable[[], None]) -> None:
        FakeGraph.made += 1
        self.replay = work


def test_decoding_steps_replay_graphs_of_a_few_sizes(tmp_path: Path):
    folder = save(*adapted()["llama: grouped heads"], tmp_path)
    plain, graphed = by_program(folder), by_program(folder, FakeGraph)
    before = FakeGraph.made
    sequences = [prompt(length, seed=length) for length in (3, 17, 40)]
    tables = [[5], [9, 4], [1, 33, 2]]
    for runner in (plain, graphed):
        runner.step(pack([Part(each, 0, blocks, 1) for each, blocks in zip(sequences, tables, strict=True)]))
    assert FakeGraph.made == before
    for step in range(4):
        parts = [
            Part([7 + step], len(each) + step, blocks, 1)
            for each, blocks in zip(sequences, tables, strict=True)
        ]
        for company in (parts, parts[1:], parts[::-1], parts[:1]):
            expected = plain.step(pack(company)).logits.copy()
            close(graphed.step(pack(company)).logits, expected)
    # Three rows are run as four, and tables of three blocks as four.
    assert FakeGraph.made - before == 3


def test_a_lost_device_is_told_apart_from_a_failed_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner = by_program(save(*adapted()["llama: grouped heads"], tmp_path))

    def fail(*_: Any) -> None:
        raise torch.AcceleratorError("the device is gone")

    monkeypatch.setattr(TorchProgram, "run", fail)
    with pytest.raises(DeviceLost, match="the device is gone"):
        runner.step(pack([Part([1], 0, [0], 1)]))
