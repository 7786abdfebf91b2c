"""Each operation of the native library does what program.py says, at every level of instructions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.encoder import NativeEncoder
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.program import (
    Activation,
    Add,
    Buffer,
    Embed,
    Gate,
    Linear,
    Matrix,
    Norm,
    Operation,
    Program,
    Vector,
)
from tests.unit.inference_worker.native.levels import levels
from tests.unit.inference_worker.native.random_checkpoint import RandomCheckpoint, fill

pytestmark = [
    pytest.mark.skipif(not library.available(), reason="no native library: no compiler"),
    pytest.mark.parametrize("level", levels()),
]

VOCABULARY, WIDTH, WIDE = 50, 104, 200
TOKENS = np.arange(45, dtype=np.int32)
LENGTHS = np.array([1, 14, 30], np.int32)

X = Buffer(0, WIDTH)
EMBED = Embed(X, Matrix(("tokens",), VOCABULARY, WIDTH))


class Computed:
    """What the operations make of the embeddings of TOKENS, and the weights that they used."""

    def __init__(
        self, folder: Path, precision: str, buffers: tuple[Buffer, ...], *operations: Operation
    ) -> None:
        program = Program((EMBED, *operations), buffers, buffers[-1], 60, VOCABULARY, 0)
        self.weights = RandomCheckpoint()
        fill(self.weights, program)
        pack_model(self.weights, program, precision, folder)
        self.result = NativeEncoder(folder, 2).encode(TOKENS, LENGTHS).copy()
        self.x = self.weights.tensors["tokens"][TOKENS]

    def __getitem__(self, name: str) -> Any:
        return self.weights.tensors[name].astype(np.float64)


@pytest.fixture
def compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str):
    monkeypatch.setenv("TRUNKLINE_ISA", level)

    def made(buffers: tuple[Buffer, ...], *operations: Operation, precision: str = "float32"):
        return Computed(tmp_path, precision, buffers, *operations)

    return made


def test_embeddings_are_scaled_and_get_positions_and_a_constant(compute: Callable[..., Computed]):
    out = Buffer(1, WIDTH)
    positions = Matrix(("positions",), 64, WIDTH)
    whole = Embed(out, EMBED.tokens, positions, 2, Vector(("constant",), WIDTH), 3.0)
    made = compute((X, out), whole)
    places = np.concatenate([np.arange(length) for length in LENGTHS]) + 2
    expected = 3.0 * made.x + made["positions"][places] + made["constant"]
    assert np.allclose(made.result, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norms_are_those_of_the_program(compute: Callable[..., Computed], kind: Literal["rms", "layer"]):
    out = Buffer(1, WIDTH)
    bias = Vector(("bias",), WIDTH) if kind == "layer" else None
    made = compute((X, out), Norm(kind, X, out, Vector(("weight",), WIDTH), bias, 1e-5))
    x = made.x.astype(np.float64)
    if kind == "layer":
        x = x - x.mean(1, keepdims=True)
    expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * made["weight"]
    expected = expected + made["bias"] if bias else expected
    assert np.allclose(made.result, expected, atol=1e-5)


_erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2)])
def test_linears_have_bias_and_activation(
    compute: Callable[..., Computed], activation: Activation, precision: str, tolerance: float
):
    out = Buffer(1, WIDE)
    matrix, bias = Matrix(("weight", "below"), WIDE, WIDTH), Vector(("bias",), WIDE)
    made = compute((X, out), Linear(X, out, matrix, bias, activation), precision=precision)
    weight = np.concatenate([made["weight"], made["below"]])
    expected = ACTIVATIONS[activation](made.x @ weight.T + made["bias"])
    assert np.allclose(made.result, expected, atol=tolerance)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_linears_add_to_what_is_there(compute: Callable[..., Computed], precision: str, tolerance: float):
    out = Buffer(1, WIDTH)
    again = Embed(out, EMBED.tokens)
    matrix = Matrix(("weight",), WIDTH, WIDTH)
    made = compute((X, out), again, Linear(X, out, matrix, add=True), Add(X, out), precision=precision)
    assert np.allclose(made.result, 2 * made.x + made.x @ made["weight"].T, atol=tolerance)


def test_gates_multiply_one_half_by_the_activated_other(compute: Callable[..., Computed]):
    wide, out = Buffer(1, 2 * WIDE), Buffer(2, WIDE)
    matrix = Matrix(("weight",), 2 * WIDE, WIDTH)
    made = compute((X, wide, out), Linear(X, wide, matrix), Gate(wide, out, "silu"))
    both = made.x @ made["weight"].T
    assert np.allclose(made.result, ACTIVATIONS["silu"](both[:, :WIDE]) * both[:, WIDE:], atol=1e-4)


def test_what_prepares_a_linear_and_is_read_again_is_both(compute: Callable[..., Computed]):
    normed, out = Buffer(1, WIDTH), Buffer(2, WIDTH)
    norm = Norm("rms", X, normed, Vector(("weight",), WIDTH), None, 1e-5)
    made = compute(
        (X, normed, out), norm, Linear(normed, out, Matrix(("square",), WIDTH, WIDTH)), Add(normed, out)
    )
    x = made.x / np.sqrt((made.x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5) * made["weight"]
    assert np.allclose(made.result, x @ made["square"].T + x, atol=1e-4)
