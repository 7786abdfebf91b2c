"""Threads take parts of a batch: of like size, whatever its inputs, and with the same bits as alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.encoder import NativeEncoder, parts_of
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.program import Attention, Buffer, Embed, Matrix, Program
from tests.unit.inference_worker.native.random_checkpoint import RandomCheckpoint

native = pytest.mark.skipif(not library.available(), reason="no native library: no compiler")
VOCABULARY, HEADS, SIZE = 20_000, 3, 32


def packed_encoder(folder: Path) -> Path:
    """Pack an attention of embeddings that are queries, keys and values."""
    width = 3 * HEADS * SIZE
    x, out = Buffer(0, width), Buffer(1, HEADS * SIZE)
    embed = Embed(x, Matrix(("tokens",), VOCABULARY, width))
    attention = Attention(x, out, 0, HEADS, HEADS, SIZE, SIZE**-0.5, causal=False)
    table = np.random.default_rng(6).normal(0, 1, (VOCABULARY, width)).astype(np.float32)
    program = Program((embed, attention), (x, out), out, 100, VOCABULARY, 1)
    pack_model(RandomCheckpoint(tensors={"tokens": table}), program, "float32", folder)
    return folder


@given(st.lists(st.integers(1, 400), min_size=1, max_size=80), st.integers(1, 4))
def test_parts_are_the_whole_batch_in_order(lengths: list[int], threads: int):
    parts = parts_of(np.array(lengths, np.int32), threads)
    assert [each for part in parts for each in part] == list(range(len(lengths)))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 4))
def test_no_part_is_larger_than_its_share_by_more_than_an_input(lengths: list[int], threads: int):
    parts = parts_of(np.array(lengths, np.int32), threads)
    sizes = [sum(lengths[part.start : part.stop]) for part in parts]
    assert max(sizes) <= min(sum(lengths) / len(parts), 256) + 60


@native
def test_a_batch_in_parts_has_the_bits_of_each_input_alone(tmp_path: Path):
    encoder = NativeEncoder(packed_encoder(tmp_path), 3)
    random = np.random.default_rng(1)
    lengths = random.integers(1, 60, 50).astype(np.int32)
    tokens = random.integers(0, VOCABULARY, lengths.sum()).astype(np.int32)
    states = encoder.encode(tokens, lengths)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        own = slice(end - length, end)
        assert np.array_equal(states[own], encoder.encode(tokens[own], np.array([length])))


@native
def test_threads_share_the_weights(tmp_path: Path):
    folder = packed_encoder(tmp_path)
    weights = (folder / "packed.bin").stat().st_size
    one, three = (NativeEncoder(folder, threads).memory_bytes for threads in (1, 3))
    assert weights <= one <= three < one + weights
