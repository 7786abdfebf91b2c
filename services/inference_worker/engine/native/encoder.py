"""The runner of encoders on the processor: a batch is one call of the native library, without the GIL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.crowding import Crowding
from services.inference_worker.engine.native import library, loading

_ROWS_AT_ONCE = 256
"""Tokens of one call of the library: their activations stay in a core's second cache (measured)."""


class NativeEncoder:
    """A packed encoder on at most `threads` threads of its own."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the model. Raises ValueError for a folder that is not right, or library.NativeError."""
        packed = loading.read(folder)
        if packed.described["causal"]:
            raise ValueError(f"{folder} holds no encoder")
        self.context_length = packed.number("context_length")
        self.vocabulary_size = packed.number("vocabulary_size")
        self._result = packed.number("result")
        self.dimensions: int = packed.described["buffers"][self._result]
        self._crowding = Crowding(threads)
        self._model = loading.load(packed, 0, threads)

    @property
    def memory_bytes(self) -> int:
        """What weights and buffers take."""
        return self._model.memory_bytes

    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        """Return the state of every token, float32 [tokens, dimensions].

        Raises ValueError for inputs that cannot be: no tokens, or more than there are positions.
        """
        lengths = np.asarray(lengths, np.int32)
        ends = np.cumsum(lengths, dtype=np.int64)
        if len(lengths) == 0 or ends[-1] != len(tokens) or min(lengths) < 1:
            raise ValueError("lengths of at least 1 add up to the number of tokens")
        states = np.empty((len(tokens), self.dimensions), np.float32)
        for first, last in _cuts(lengths):
            rows = slice(ends[first] - lengths[first], ends[last - 1])
            states[rows] = self._encode(tokens[rows], lengths[first:last])
        return states

    def _encode(self, tokens: Ints, lengths: Ints) -> Floats:
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        sequences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        positions = np.arange(len(tokens), dtype=np.int32) - starts[sequences]
        held = np.ascontiguousarray(tokens, np.int32)
        batch = library.Batch(
            rows=len(held),
            tokens=held.ctypes.data,
            sequences=sequences.ctypes.data,
            positions=positions.ctypes.data,
            starts=starts.ctypes.data,
            starts_count=len(lengths),
            threads=self._crowding.begin(),
        )
        states = self._model.encode(batch, self._result)
        self._crowding.end(len(held))
        return self._model.floats(states, len(held), self.dimensions)


def _cuts(lengths: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges of inputs of at most _ROWS_AT_ONCE tokens together, or of one that is longer."""
    first, rows = 0, 0
    for index, length in enumerate(lengths):
        if index > first and rows + length > _ROWS_AT_ONCE:
            yield first, index
            first, rows = index, 0
        rows += int(length)
    yield first, len(lengths)
