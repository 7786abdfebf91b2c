"""The native runner says what the reference says, and always the same, at every level of instructions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.batch import BLOCK_TOKENS, Floats, Part, RaggedBatch, pack
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.native.runner import NativeRunner
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from tests.unit.inference_worker.native.levels import levels
from tests.unit.inference_worker.native.random_checkpoint import VOCABULARY, tiny_llama

pytestmark = pytest.mark.skipif(not library.available(), reason="no native library: no compiler")

Loaded = Callable[..., NativeRunner]

BLOCKS = 64
TEXT = [3 + place * 37 % 290 for place in range(150)]
SHAPES = {
    "groups of three heads": {},
    "wide heads": {"head_dim": 64, "num_attention_heads": 2, "num_key_value_heads": 1},
    "heads of five vectors": {"head_dim": 80, "num_attention_heads": 3, "num_key_value_heads": 3},
    "the smallest heads": {"head_dim": 16, "num_attention_heads": 20, "num_key_value_heads": 1},
    "biases and a head of its own": {"model_type": "qwen2", "tie_word_embeddings": False},
}
_levels = pytest.mark.parametrize("level", levels())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that packs a tiny model, once for each shape and precision."""
    made = {}

    def folder(precision: Any = "bfloat16", shape: str = "groups of three heads") -> Path:
        if (precision, shape) not in made:
            into = made[precision, shape] = tmp_path_factory.mktemp("packed")
            pack_model(*tiny_llama(**SHAPES[shape]), precision, into)
        return made[precision, shape]

    return folder


@pytest.fixture(scope="module")
def runner(packed: Callable[..., Path]):
    """Return a function that loads a model at a level, once for each."""
    made = {}

    def loaded(level: str, precision: str = "bfloat16", shape: str = "groups of three heads"):
        if (level, precision, shape) not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TRUNKLINE_ISA", level)
                made[level, precision, shape] = NativeRunner(packed(precision, shape), BLOCKS, 2)
        return made[level, precision, shape]

    return loaded


def whole(text: list[int] = TEXT, first_block: int = 0, wanted: int | None = None) -> Part:
    return Part(text, 0, range(first_block, first_block + 10), len(text) if wanted is None else wanted)


def logits(runner: NativeRunner | TorchRunner, *parts: Part) -> Floats:
    return runner.step(pack(parts)).logits.copy()


def reference(shape: str) -> TorchRunner:
    checkpoint, program = tiny_llama(**SHAPES[shape])
    return TorchRunner(
        TorchProgram(checkpoint, program, torch.device("cpu"), torch.float32), BLOCKS, frozenset()
    )


def divergence(expected: Floats, found: Floats) -> float:
    """Return the mean Kullback-Leibler divergence of the tokens' distributions."""
    p, q = (torch.log_softmax(torch.tensor(each, dtype=torch.float64), -1) for each in (expected, found))
    return float((p.exp() * (p - q)).sum(-1).mean())


@_levels
@pytest.mark.parametrize("shape", SHAPES)
def test_it_says_what_the_reference_says(runner: Loaded, level: str, shape: str):
    expected = logits(reference(shape), whole())
    assert divergence(expected, logits(runner(level, "float32", shape), whole())) < 5e-4
    assert divergence(expected, logits(runner(level, "bfloat16", shape), whole())) < 2e-3


@_levels
def test_however_a_text_is_cut_into_steps_the_bits_are_the_same(runner: Loaded, level: str):
    model = runner(level)
    expected = logits(model, whole())
    for cut in ([1] * 150, [16] * 9 + [6], [7, 90, 1, 1, 51], [149, 1]):
        ends = np.cumsum(cut)
        parts = [
            Part(TEXT[end - size : end], end - size, range(20, 30), size)
            for size, end in zip(cut, ends, strict=True)
        ]
        assert np.array_equal(np.concatenate([logits(model, part) for part in parts]), expected)


@_levels
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=5), place=st.integers(0, 5))
def test_whoever_shares_the_batch_the_bits_are_the_same(
    runner: Loaded, level: str, lengths: list[int], place: int
):
    model = runner(level)
    expected = logits(model, whole(wanted=3))
    others = [whole(TEXT[n:] + TEXT[:n], 11 + 10 * i, 1) for i, n in enumerate(lengths)]
    others = [Part(part.tokens[:n], 0, part.blocks, 1) for part, n in zip(others, lengths, strict=True)]
    place = min(place, len(others))
    found = logits(model, *others[:place], whole(wanted=3), *others[place:])
    assert np.array_equal(found[place : place + 3], expected)


@_levels
def test_one_thread_or_two_give_the_same_bits(
    packed: Callable[..., Path], runner: Loaded, level: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRUNKLINE_ISA", level)
    alone = NativeRunner(packed(), BLOCKS, 1)
    assert np.array_equal(logits(alone, whole()), logits(runner(level), whole()))


@_levels
def test_the_likeliest_token_is_the_first_with_the_highest_logit(runner: Loaded, level: str):
    model = runner(level)
    with_logits = model.step(pack([whole()]))
    likeliest = with_logits.likeliest.copy()
    assert np.array_equal(likeliest, with_logits.logits.argmax(1))
    without = model.step(pack([whole()], logits=False))
    assert np.array_equal(without.likeliest, likeliest)
    assert without.logits.shape == (0, VOCABULARY)


@_levels
def test_blocks_that_held_another_text_do_not_matter(runner: Loaded, level: str):
    model = runner(level)
    expected = logits(model, whole(first_block=0))
    logits(model, whole(TEXT[::-1], 30))
    assert np.array_equal(logits(model, whole(first_block=30)), expected)


def test_a_step_may_want_nothing(runner: Loaded):
    model = runner(levels()[-1])
    result = model.step(pack([whole(wanted=0)]))
    assert result.likeliest.shape == (0,)
    assert result.logits.shape == (0, VOCABULARY)


def _changed(**changes: tuple[int, int]) -> RaggedBatch:
    batch = pack([whole(TEXT[:20])])
    fields = {
        name: getattr(batch, name).copy() for name in ("tokens", "sequences", "positions", "block_tables")
    }
    fields |= {"wanted": batch.wanted.copy()}
    for name, (place, value) in changes.items():
        fields[name].flat[place] = value
    return RaggedBatch(**fields)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": (3, VOCABULARY)},
        {"tokens": (3, -1)},
        {"sequences": (3, 1)},
        {"sequences": (3, -1)},
        {"positions": (0, -1)},
        {"positions": (3, 9)},
        {"positions": (19, 16 * BLOCK_TOKENS)},
        {"block_tables": (1, BLOCKS)},
        {"block_tables": (1, -1)},
        {"wanted": (3, 2)},
        {"wanted": (19, 20)},
    ],
)
def test_a_batch_that_cannot_be_is_refused(runner: Loaded, change: dict[str, Any]):
    model = runner(levels()[-1])
    with pytest.raises(ValueError, match=r"."):
        model.step(_changed(**change))
    assert model.step(pack([whole()])).logits.shape == (150, VOCABULARY)


def test_arrays_of_different_lengths_are_refused(runner: Loaded):
    batch = pack([whole(TEXT[:20])])
    cut = RaggedBatch(batch.tokens, batch.sequences[:-1], batch.positions, batch.block_tables, batch.wanted)
    with pytest.raises(ValueError, match="every row"):
        runner(levels()[-1]).step(cut)


def test_files_that_are_cut_short_or_of_another_version_are_refused(tmp_path: Path):
    pack_model(*tiny_llama(), "bfloat16", tmp_path)
    whole_file = (tmp_path / "packed.bin").read_bytes()
    (tmp_path / "packed.bin").write_bytes(whole_file[:-64])
    with pytest.raises(ValueError, match="cut short"):
        NativeRunner(tmp_path, BLOCKS, 1)
    (tmp_path / "packed.bin").write_bytes(whole_file)
    described = (tmp_path / "packed.json").read_text()
    (tmp_path / "packed.json").write_text(described.replace('"version": ', '"version": 9'))
    with pytest.raises(ValueError, match="another version"):
        NativeRunner(tmp_path, BLOCKS, 1)


def test_it_tells_its_limits_and_its_memory(runner: Loaded):
    model = runner(levels()[-1])
    assert model.end_token_ids == {2}
    assert model.context_length == 400
    assert model.memory_bytes > 0


def test_the_greatest_of_equal_logits_is_the_first(tmp_path: Path):
    checkpoint, program = tiny_llama(num_hidden_layers=1)
    for name, tensor in checkpoint.tensors.items():
        if "embed" in name:
            tensor[:] = 0.5
    pack_model(checkpoint, program, "bfloat16", tmp_path)
    result = NativeRunner(tmp_path, BLOCKS, 2).step(pack([whole(TEXT[:5])]))
    assert list(result.likeliest) == [0] * 5
    assert all(len(set(row)) == 1 for row in result.logits.tolist())
    assert all(a <= b for a, b in pairwise(result.likeliest))
