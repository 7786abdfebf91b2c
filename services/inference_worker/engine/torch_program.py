"""Runs a program's operations in torch: every row's values, on any device, in any of its floating types.

The arithmetic, and where it rounds, is that of transformers' models: in float32 the tokens are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from services.inference_worker.engine import checkpoint as files
from services.inference_worker.engine.checkpoint import Checkpoint
from services.inference_worker.engine.program import (
    Activation,
    Add,
    Attention,
    Buffer,
    Embed,
    Gate,
    Linear,
    Matrix,
    Norm,
    Operation,
    Program,
    Rope,
    Select,
    Vector,
)

Attend = Callable[[Attention, Tensor], Tensor]
"""Returns the attention of the rows [rows, heads · size], given queries, keys and values side by side."""

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
}


@dataclass
class _Rows:
    """One run: what the rows are, and the values that they have so far."""

    tokens: Tensor
    positions: Tensor
    attend: Attend
    wanted: Tensor | None
    values: dict[Buffer, Tensor] = field(default_factory=dict)
    turns: dict[tuple[float, ...], tuple[Tensor, Tensor]] = field(default_factory=dict)


class TorchProgram:
    """A program with its weights on `device`, in `dtype`."""

    def __init__(
        self, checkpoint: Checkpoint, program: Program, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.program = program
        self.device = device
        self.dtype = dtype
        self._weights: dict[Matrix | Vector, Tensor] = {}
        for operation in program.operations:
            for told in _weights(operation):
                if told not in self._weights:
                    self._weights[told] = self._placed(checkpoint, told)
        self._frequencies = {
            each.frequencies: torch.tensor(each.frequencies, dtype=torch.float32, device=device)
            for each in program.operations
            if isinstance(each, Rope)
        }

    @property
    def weight_bytes(self) -> int:
        """What the weights take."""
        return sum(each.nbytes for each in self._weights.values())

    def run(self, tokens: Tensor, positions: Tensor, attend: Attend, wanted: Tensor | None = None) -> Tensor:
        """Return the program's result for these rows; `wanted` are the rows that a Select keeps."""
        rows = _Rows(tokens, positions, attend, wanted)
        for operation in self.program.operations:
            self._do(operation, rows)
        return rows.values[self.program.result]

    def _placed(self, checkpoint: Checkpoint, told: Matrix | Vector) -> Tensor:
        read = files.matrix(checkpoint, told) if isinstance(told, Matrix) else files.vector(checkpoint, told)
        # A copy always: files may be mapped read-only, which torch cannot express.
        return torch.tensor(read, dtype=self.dtype, device=self.device)

    def _do(self, operation: Operation, rows: _Rows) -> None:
        values = rows.values
        match operation:
            case Embed():
                values[operation.out] = self._embed(operation, rows)
            case Rope():
                self._turn(operation, rows)
            case Attention():
                values[operation.out] = rows.attend(operation, values[operation.qkv])
            case Select():
                values[operation.out] = values[operation.x][rows.wanted]
            case _:
                values[operation.out] = self._made(operation, values)

    def _made(self, operation: Norm | Linear | Gate | Add, values: dict[Buffer, Tensor]) -> Tensor:
        x = values[operation.x]
        match operation:
            case Norm():
                return self._norm(operation, x)
            case Linear():
                made = self._linear(operation, x)
                return values[operation.out] + made if operation.add else made
            case Gate():
                gate, up = x.chunk(2, dim=-1)
                return _ACTIVATIONS[operation.activation](gate) * up
            case Add():
                return values[operation.out] + x

    def _embed(self, operation: Embed, rows: _Rows) -> Tensor:
        embedded = self._weights[operation.tokens][rows.tokens]
        if operation.scale != 1.0:
            embedded = embedded * operation.scale
        if operation.constant is not None:
            embedded = embedded + self._weights[operation.constant]
        if operation.positions is not None:
            embedded = (
                embedded + self._weights[operation.positions][rows.positions + operation.position_offset]
            )
        return embedded

    def _norm(self, operation: Norm, x: Tensor) -> Tensor:
        weight = self._weights[operation.weight]
        bias = self._weights[operation.bias] if operation.bias else None
        if operation.kind == "layer":
            return functional.layer_norm(x, weight.shape, weight, bias, operation.epsilon)
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + operation.epsilon)
        return weight * scaled.to(x.dtype)

    def _linear(self, operation: Linear, x: Tensor) -> Tensor:
        bias = self._weights[operation.bias] if operation.bias else None
        made = functional.linear(x, self._weights[operation.weight], bias)
        return _ACTIVATIONS[operation.activation](made)

    def _turn(self, operation: Rope, rows: _Rows) -> None:
        """Turn the first heads of each row, queries and keys, where they stand."""
        qkv = rows.values[operation.qkv]
        if operation.frequencies not in rows.turns:
            angles = rows.positions.float()[:, None, None] * self._frequencies[operation.frequencies]
            rows.turns[operation.frequencies] = (angles.cos().to(qkv.dtype), angles.sin().to(qkv.dtype))
        cos, sin = rows.turns[operation.frequencies]
        turned = (operation.heads + operation.kv_heads) * operation.size
        left, right = qkv[:, :turned].view(len(qkv), -1, 2, operation.size // 2).unbind(2)
        left_turned = left * cos - right * sin
        right.mul_(cos).add_(left * sin)
        left.copy_(left_turned)


def _weights(operation: Operation) -> list[Matrix | Vector]:
    match operation:
        case Embed(tokens=tokens, positions=positions, constant=constant):
            told: list[Matrix | Vector | None] = [tokens, positions, constant]
        case Norm(weight=weight, bias=bias) | Linear(weight=weight, bias=bias):
            told = [weight, bias]
        case _:
            told = []
    return [each for each in told if each is not None]
