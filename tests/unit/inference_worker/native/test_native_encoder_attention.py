"""Attention among a sequence's rows, at every level: right, and blind to the other sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.encoder import NativeEncoder
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.program import Attention, Buffer, Embed, Matrix, Program
from tests.unit.inference_worker.native.levels import levels
from tests.unit.inference_worker.native.random_checkpoint import RandomCheckpoint

pytestmark = [
    pytest.mark.skipif(not library.available(), reason="no native library: no compiler"),
    pytest.mark.parametrize("level", levels()),
]

VOCABULARY, SCALE = 60, 0.3
LENGTHS = np.array([1, 15, 16, 17, 33, 70], np.int32)
TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, LENGTHS.sum()).astype(np.int32)

Run = Callable[..., Any]


class Attending:
    """An encoder that is one attention of embeddings that are queries, keys and values."""

    def __init__(self, folder: Path, heads: int, kv_heads: int, size: int) -> None:
        self.heads, self.kv_heads, self.size = heads, kv_heads, size
        width = (heads + 2 * kv_heads) * size
        x, out = Buffer(0, width), Buffer(1, heads * size)
        embed = Embed(x, Matrix(("tokens",), VOCABULARY, width))
        attention = Attention(x, out, 0, heads, kv_heads, size, SCALE, causal=False)
        self.table = np.random.default_rng(6).normal(0, 1, (VOCABULARY, width)).astype(np.float32)
        checkpoint = RandomCheckpoint(tensors={"tokens": self.table})
        pack_model(
            checkpoint, Program((embed, attention), (x, out), out, 100, VOCABULARY, 1), "float32", folder
        )
        self._encoder = NativeEncoder(folder, 2)

    def run(self, tokens: Any, lengths: Any) -> Any:
        return self._encoder.encode(tokens, np.array(lengths, np.int32)).copy()

    def expected(self, tokens: Any) -> Any:
        parts = self.table[tokens].astype(np.float64).reshape(len(tokens), -1, self.size)
        group = self.heads // self.kv_heads
        queries = parts[:, : self.heads]
        keys, values = (part.repeat(group, 1) for part in np.split(parts[:, self.heads :], 2, axis=1))
        scores = SCALE * np.einsum("qhd,khd->hqk", queries, keys)
        weights = np.exp(scores - scores.max(2, keepdims=True))
        weights /= weights.sum(2, keepdims=True)
        return np.einsum("hqk,khd->qhd", weights, values).reshape(len(tokens), -1)


@pytest.fixture
def attending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> Run:
    """Return a function that makes an encoder at the level."""
    monkeypatch.setenv("TRUNKLINE_ISA", level)
    return lambda *shape: Attending(tmp_path, *shape)


@pytest.mark.parametrize("shape", [(3, 3, 32), (2, 1, 64), (4, 2, 16), (1, 1, 48), (1, 1, 128)])
def test_a_row_is_the_mean_of_values_by_the_softmax_of_scores(attending: Run, shape: tuple[int, int, int]):
    made = attending(*shape)
    states = made.run(TOKENS, LENGTHS)
    for end, length in zip(np.cumsum(LENGTHS), LENGTHS, strict=True):
        own = slice(end - length, end)
        assert np.allclose(states[own], made.expected(TOKENS[own]), atol=3e-2)


def test_a_sequence_has_the_same_bits_alone(attending: Run):
    made = attending(3, 3, 32)
    states = made.run(TOKENS, LENGTHS)
    for end, length in zip(np.cumsum(LENGTHS), LENGTHS, strict=True):
        own = slice(end - length, end)
        assert np.array_equal(made.run(TOKENS[own], [length]), states[own])


def test_lengths_that_do_not_add_up_are_refused(attending: Run):
    made = attending(1, 1, 16)
    for lengths in ([], [3], [0, 4], [5, -1]):
        with pytest.raises(ValueError, match="add up"):
            made.run(TOKENS[:4], lengths)
