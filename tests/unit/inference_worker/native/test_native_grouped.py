"""Linears of small integers give what whole-number arithmetic says, and the same bits on every path."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from services.inference_worker.engine.checkpoint import QuantBlocks
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.encoder import NativeEncoder
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.program import Buffer, Embed, Linear, Matrix, Program
from tests.unit.inference_worker.native.levels import levels
from tests.unit.inference_worker.native.random_checkpoint import RandomCheckpoint, fill

pytestmark = pytest.mark.skipif(not library.available(), reason="no native library: no compiler")

ROWS, INPUTS, OUTPUTS = 75, 160, 72  # no multiples of a tile, a pass of tiles, a group of 64, a block
X, OUT = Buffer(0, INPUTS), Buffer(1, OUTPUTS)
NAMES = ("upper", "lower")
KINDS = ("q4_1", "q4_0", "q8_0", "of two kinds", "int8")
FUSED = [level for level in levels() if level != "portable"]

Kind = Literal["q4_0", "q4_1", "q8_0"]


@dataclass
class Blocked(RandomCheckpoint):
    """A checkpoint some of whose matrices are blocks, as in a GGUF file."""

    held: dict[str, QuantBlocks] = field(default_factory=dict)

    def blocks(self, name: str) -> Any:
        return self.held.get(name)


def random_blocks(kind: Kind, seed: int) -> QuantBlocks:
    random = np.random.default_rng(seed)
    shape, groups = (OUTPUTS // 2, INPUTS), (OUTPUTS // 2, INPUTS // 32)
    eight = kind == "q8_0"
    codes = random.integers(-127, 128, shape).astype(np.int8) if eight else random.integers(0, 16, shape)
    scales = random.uniform(0.001, 0.02, groups).astype(np.float16)
    minimums = random.uniform(-0.2, 0.1, groups).astype(np.float16) if kind == "q4_1" else None
    return QuantBlocks(kind, codes if eight else codes.astype(np.uint8), scales, minimums)


def multiplied_out(blocks: QuantBlocks) -> Any:
    offset = 8 if blocks.kind == "q4_0" else 0
    weight = (blocks.codes.astype(np.float64) - offset) * blocks.scales.repeat(32, 1).astype(np.float64)
    return weight if blocks.minimums is None else weight + blocks.minimums.repeat(32, 1).astype(np.float64)


def in_groups(values: Any, size: int) -> Any:
    """Return the rows as 8-bit codes in groups would give them back, in float64."""
    padded = np.pad(values.astype(np.float32), ((0, 0), (0, -values.shape[1] % size)))
    groups = padded.reshape(len(values), -1, size)
    highest = np.abs(groups).max(2, keepdims=True) + np.float32(1e-12)
    codes = np.rint(groups * (np.float32(127) / highest)).astype(np.float64)
    whole = codes * (highest / np.float32(127)).astype(np.float64)
    return whole.reshape(len(values), -1)[:, : values.shape[1]]


class Packed:
    """A packed linear of a kind, and what it should make of the embeddings."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        program = Program(
            (Embed(X, Matrix(("tokens",), ROWS, INPUTS)), Linear(X, OUT, Matrix(NAMES, OUTPUTS, INPUTS))),
            (X, OUT),
            OUT,
            ROWS,
            ROWS,
            0,
        )
        weights, group = self._weights(kind)
        fill(weights, program)
        bits = weights.tensors["tokens"].view(np.uint32) & np.uint32(0xFFFF0000)
        x = weights.tensors["tokens"] = bits.view(np.float32)  # a table is packed in bfloat16
        matrix = np.concatenate([weights.tensors[name] for name in NAMES])
        exact = kind in {"q4_1", "q4_0", "q8_0"}
        self.expected = in_groups(x, group) @ (matrix if exact else in_groups(matrix, group)).T
        pack_model(weights, program, "int8" if kind == "int8" else "q4", folder)

    @staticmethod
    def _weights(kind: str) -> tuple[Blocked, int]:
        if kind == "int8":
            return Blocked(), 64
        kinds: tuple[Kind, Kind] = ("q4_1", "q8_0") if kind == "of two kinds" else (kind, kind)  # type: ignore[assignment]
        held = {name: random_blocks(each, len(name)) for name, each in zip(NAMES, kinds, strict=True)}
        tensors = {name: multiplied_out(each).astype(np.float32) for name, each in held.items()}
        return Blocked(tensors=tensors, held=held), 32

    def run(self, rows: int = ROWS, threads: int = 1) -> Any:
        tokens = np.arange(rows, dtype=np.int32)
        encoder = NativeEncoder(self.folder, threads)
        return encoder.encode(tokens, np.array([rows], np.int32)).copy()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory):
    """Return each kind of linear, packed once."""
    return {kind: Packed(tmp_path_factory.mktemp("packed"), kind) for kind in KINDS}


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_is_the_sum_of_its_groups(
    packed: dict[str, Packed], kind: str, level: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRUNKLINE_ISA", level)
    made = packed[kind].run()
    assert np.allclose(made, packed[kind].expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", ["q4_1", "q8_0", "int8"])
def test_a_row_has_the_same_bits_however_many_share_the_batch(
    packed: dict[str, Packed], kind: str, level: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRUNKLINE_ISA", level)
    whole = packed[kind].run(threads=2)
    for rows in (1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 33, 65):
        assert np.array_equal(packed[kind].run(rows), whole[:rows]), f"{rows} rows"


@pytest.mark.skipif(len(FUSED) < 2, reason="this processor has one path with fused multiplication")
@pytest.mark.parametrize("kind", ["q4_1", "q8_0", "int8"])
def test_tiles_and_vectors_give_the_same_bits(
    packed: dict[str, Packed], kind: str, monkeypatch: pytest.MonkeyPatch
):
    made = []
    for level in FUSED:
        monkeypatch.setenv("TRUNKLINE_ISA", level)
        made.append(packed[kind].run())
    assert all(np.array_equal(made[0], each) for each in made[1:])


def test_weights_of_eight_bits_are_within_half_a_step(packed: dict[str, Packed]):
    assert np.isfinite(packed["int8"].expected).all()
    values = np.random.default_rng(3).normal(0, 1, (5, 100))
    steps = np.abs(values).max() / 127
    assert np.abs(in_groups(values, 64) - values).max() <= 0.51 * steps
