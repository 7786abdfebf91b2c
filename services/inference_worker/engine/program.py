"""A model's arithmetic as a list of operations: made by an adapter, run by every runner.

A program works on buffers of float32, each with a row for every token of the batch. It knows nothing of
devices, precisions or layouts: those are the runner's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["none", "gelu", "gelu_tanh", "silu", "relu"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A place for one value: `width` numbers a row."""

    index: int
    width: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of shape [rows, columns]: the named tensors of the checkpoint, one below the other."""

    tensors: tuple[str, ...]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Vector:
    """A weight of `size` numbers: the named tensors of the checkpoint, one after the other.

    Of a longer tensor the first numbers are meant: so is the first row of a matrix a vector.
    """

    tensors: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Embed:
    """out = tokens[token] (+ positions[position + position_offset]) (+ constant).

    `constant` is a one-row matrix's row or vector added to every row, such as BERT's first token type.
    """

    out: Buffer
    tokens: Matrix
    positions: Matrix | None = None
    position_offset: int = 0
    constant: Vector | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Norm:
    """out = (x - mean) / √(variance + ε) · weight + bias, or, for "rms", x / √(mean x² + ε) · weight."""

    kind: Literal["rms", "layer"]
    x: Buffer
    out: Buffer
    weight: Vector
    bias: Vector | None
    epsilon: float


@dataclass(frozen=True, slots=True)
class Linear:
    """out = activation(x · weightᵀ + bias), or out += that where `add`."""

    x: Buffer
    out: Buffer
    weight: Matrix
    bias: Vector | None = None
    activation: Activation = "none"
    add: bool = False


@dataclass(frozen=True, slots=True)
class Rope:
    """Turns queries and keys inside `qkv` by the rows' positions (Su et al., 2021), halves of a head paired.

    A row of `qkv` is queries [heads, size], then keys and values [kv_heads, size] each. `frequencies` are the
    size / 2 angles of position 1, in radians.
    """

    qkv: Buffer
    heads: int
    kv_heads: int
    size: int
    frequencies: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """out = softmax(scale · q · kᵀ) · v a head; query heads share key heads in equal groups.

    Causal attention first puts the rows' keys and values into layer `layer` of the cache and then reads the
    sequence from there up to the row's own position. Otherwise each row attends to all rows of its sequence
    in this batch, and there is no cache.
    """

    qkv: Buffer
    out: Buffer
    layer: int
    heads: int
    kv_heads: int
    size: int
    scale: float
    causal: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """out = activation(x[:, :width]) · x[:, width:], where `out` has `width` columns and x twice as many."""

    x: Buffer
    out: Buffer
    activation: Activation


@dataclass(frozen=True, slots=True)
class Add:
    """out += x."""

    x: Buffer
    out: Buffer


@dataclass(frozen=True, slots=True)
class Select:
    """Keeps the rows whose result is wanted: from here on buffers have a row for each of those only."""

    x: Buffer
    out: Buffer


Operation = Embed | Norm | Linear | Rope | Attention | Gate | Add | Select


@dataclass(frozen=True)
class Program:
    """A model: its operations in order, its buffers, where the result is, and what a caller must know."""

    operations: tuple[Operation, ...]
    buffers: tuple[Buffer, ...]
    result: Buffer
    """The logits of a decoder after `Select`; the token states of an encoder."""
    context_length: int
    vocabulary_size: int
    layers: int
    kv_heads: int = 0
    head_size: int = 0

    def __post_init__(self) -> None:
        if any(buffer.index != index for index, buffer in enumerate(self.buffers)):
            raise ValueError("buffers are numbered in order from 0")

    @property
    def causal(self) -> bool:
        """True for a decoder: it has a cache, and its result is logits."""
        return any(isinstance(each, Attention) and each.causal for each in self.operations)
