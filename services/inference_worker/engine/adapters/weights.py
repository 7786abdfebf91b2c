"""Names of a checkpoint's tensors as a program's matrices and vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count
from typing import Any, cast

from services.inference_worker.engine.program import Activation, Buffer, Matrix, Vector

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}


def activation(name: Any) -> Activation | None:
    """Return the activation that Hugging Face calls `name`, or None for one not known here."""
    return cast("Activation | None", _ACTIVATIONS.get(name))


def buffers(*widths: int) -> tuple[Buffer, ...]:
    """Return a program's buffers, numbered in order."""
    return tuple(map(Buffer, count(), widths))


def weight(modules: Iterable[str], rows: int, columns: int) -> Matrix:
    """Return the weights of these modules, one below the other."""
    return Matrix(tuple(f"{module}.weight" for module in modules), rows, columns)


def bias(modules: Iterable[str], size: int, names: Collection[str]) -> Vector | None:
    """Return the biases of these modules, one after the other; None where they have none."""
    tensors = tuple(f"{module}.bias" for module in modules)
    return Vector(tensors, size) if all(tensor in names for tensor in tensors) else None
