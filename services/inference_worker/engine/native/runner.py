"""The runner of decoders on the processor: a step is one call of the native library, without the GIL."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.inference_worker.engine.batch import BLOCK_TOKENS, Ints, RaggedBatch
from services.inference_worker.engine.crowding import Crowding
from services.inference_worker.engine.native import library, loading
from services.inference_worker.engine.runner import StepResult


class NativeRunner:
    """A packed decoder, with a cache of `blocks` blocks, on at most `threads` threads of its own.

    `ends` are tokens that end an answer beside those that the model's own files name.
    """

    def __init__(self, folder: Path, blocks: int, threads: int, ends: frozenset[int] = frozenset()) -> None:
        """Load the model. Raises ValueError for a folder that is not right, or library.NativeError."""
        packed = loading.read(folder)
        if not packed.described["causal"]:
            raise ValueError(f"{folder} holds no decoder")
        self.blocks = blocks
        self.context_length = min(packed.number("context_length"), blocks * BLOCK_TOKENS)
        self.vocabulary_size = packed.number("vocabulary_size")
        self.end_token_ids = ends.union(packed.described["end_token_ids"])
        self._crowding = Crowding(threads)
        self._model = loading.load(packed, blocks, threads)

    @property
    def memory_bytes(self) -> int:
        """What weights, cache and buffers take."""
        return self._model.memory_bytes

    def step(self, batch: RaggedBatch) -> StepResult:
        """Read the rows and return what came of the wanted ones; ValueError for a batch that cannot be.

        Where the batch asks for no logits the result has none, [0, vocabulary]: only the likeliest tokens.
        """
        held = [np.ascontiguousarray(each, np.int32) for each in _arrays(batch)]
        tokens, sequences, positions, tables, wanted = (each.ctypes.data for each in held)
        native = library.Batch(
            rows=batch.rows,
            tokens=tokens,
            sequences=sequences,
            positions=positions,
            tables=tables,
            tables_count=batch.block_tables.shape[0],
            tables_width=batch.block_tables.shape[1],
            wanted=wanted,
            wanted_count=len(batch.wanted),
            threads=self._crowding.begin(),
            logits=batch.logits,
        )
        likeliest, values = self._model.step(native)
        self._crowding.end(batch.rows)
        count, width = len(batch.wanted), self.vocabulary_size
        return StepResult(
            self._model.ints(likeliest, count) if count else np.empty(0, np.int32),
            self._model.floats(values, count, width)
            if count and values
            else np.empty((0, width), np.float32),
        )


def _arrays(batch: RaggedBatch) -> tuple[Ints, ...]:
    if not len(batch.tokens) == len(batch.sequences) == len(batch.positions):
        raise ValueError("a batch has a token, a sequence and a position for every row")
    return batch.tokens, batch.sequences, batch.positions, batch.block_tables, batch.wanted
