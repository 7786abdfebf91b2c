"""Checkpoints of random weights in memory, and tiny models made of them: neither torch nor files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.inference_worker.engine import adapters
from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.program import Matrix, Norm, Program, Vector

VOCABULARY = 300
CONTEXT = 400

# Odd on purpose: groups of three heads, and widths that are no multiple of a tile.
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 96,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


@dataclass
class RandomCheckpoint:
    """Tensors by name; what a program asks for and nobody gave is drawn at random, always the same."""

    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Floats] = field(default_factory=dict)
    end_token_ids: frozenset[int] = frozenset({2})

    def names(self) -> Collection[str]:
        return self.tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def read(self, name: str) -> Floats:
        return self.tensors[name]

    def blocks(self, name: str) -> None:
        return None


def fill(checkpoint: RandomCheckpoint, program: Program) -> None:
    """Draw every weight that the program names: matrices keep the size of what they multiply."""
    random = np.random.default_rng(7)
    for operation in program.operations:
        for told in (getattr(operation, name, None) for name in ("tokens", "positions", "weight")):
            if isinstance(told, Matrix) and told.tensors[0] not in checkpoint.tensors:
                _draw_matrix(checkpoint, told, random)
        for told in (getattr(operation, name, None) for name in ("weight", "bias", "constant")):
            if isinstance(told, Vector) and told.tensors[0] not in checkpoint.tensors:
                _draw_vector(checkpoint, told, random, centre=1.0 if isinstance(operation, Norm) else 0.0)


def _draw_matrix(checkpoint: RandomCheckpoint, told: Matrix, random: np.random.Generator) -> None:
    whole = random.normal(0, 1.5 * told.columns**-0.5, (told.rows, told.columns)).astype(np.float32)
    for name, part in zip(told.tensors, np.array_split(whole, len(told.tensors)), strict=True):
        checkpoint.tensors[name] = part


def _draw_vector(
    checkpoint: RandomCheckpoint, told: Vector, random: np.random.Generator, centre: float
) -> None:
    whole = random.normal(centre, 0.2, told.size).astype(np.float32)
    for name, part in zip(told.tensors, np.array_split(whole, len(told.tensors)), strict=True):
        checkpoint.tensors[name] = part


def tiny_llama(**changes: Any) -> tuple[RandomCheckpoint, Program]:
    """Return a Llama of random weights."""
    checkpoint = RandomCheckpoint(config=LLAMA | changes)
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    fill(checkpoint, program)
    return checkpoint, program
