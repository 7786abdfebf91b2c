"""One step's input for a runner: every row is a token of a sequence at a position, no matter why."""

from __future__ import annotations

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BLOCK_TOKENS = 16
"""Tokens whose keys and values share a block of the cache."""

Ints: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive tokens of one sequence, from position `start` on, and how many of the last are wanted.

    `blocks` is the sequence's block table: token p lies in block `blocks[p // 16]`, in place `p % 16`.
    """

    tokens: Rows[int]
    start: int
    blocks: Rows[int] | Ints
    wanted: int


@dataclass(frozen=True, slots=True)
class RaggedBatch:
    """Rows of all sequences of a step. The rows of one sequence stand together, positions ascending.

    `tokens`, `sequences` (the row of `block_tables`) and `positions` have one number a row. `wanted` are the
    rows, ascending, after which logits are asked for. A table shorter than the widest ends in 0s. Without
    `logits` only the likeliest tokens are used: a runner may spare itself the rest.
    """

    tokens: Ints
    sequences: Ints
    positions: Ints
    block_tables: Ints
    wanted: Ints
    logits: bool = True

    @property
    def rows(self) -> int:
        """Tokens in this batch."""
        return len(self.tokens)


def pack(parts: Rows[Part], *, logits: bool = True) -> RaggedBatch:
    """Return the batch of these parts, in their order. There must be at least one row."""
    lengths = [len(part.tokens) for part in parts]
    ends = np.cumsum(lengths)
    tables = np.zeros((len(parts), max(len(part.blocks) for part in parts)), np.int32)
    for table, part in zip(tables, parts, strict=True):
        table[: len(part.blocks)] = part.blocks
    return RaggedBatch(
        tokens=np.concatenate([np.asarray(part.tokens, np.int32) for part in parts]),
        sequences=np.repeat(np.arange(len(parts), dtype=np.int32), lengths),
        positions=np.concatenate(
            [np.arange(part.start, part.start + len(part.tokens), dtype=np.int32) for part in parts]
        ),
        block_tables=tables,
        wanted=np.concatenate(
            [np.arange(end - part.wanted, end, dtype=np.int32) for end, part in zip(ends, parts, strict=True)]
        ),
        logits=logits,
    )
