"""The encoders' runner on the processor: each part of a batch is one call of the library, without the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.crowding import Crowding
from services.inference_worker.engine.native import library, loading

_PART_TOKENS = 256
"""Tokens of one call of the library: their activations stay in a core's second cache (measured)."""
_LANE_TOKENS = 48
"""With fewer tokens for each, threads do better to share every operation (measured)."""


class NativeEncoder:
    """A packed encoder on at most `threads` threads of its own.

    Threads share the operations of a short batch. Of a longer one each takes whole inputs through all layers:
    activations stay in its cache, and nobody waits for a thread that has lost its core.
    """

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
        self._team = loading.load(packed, 0, threads)
        self._lanes = [self._team.fellow() for _ in range(threads if threads > 1 else 0)]
        self._threads = ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="lane")

    @property
    def memory_bytes(self) -> int:
        """What weights and buffers take."""
        return self._team.memory_bytes + sum(each.memory_bytes for each in self._lanes)

    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        """Return the state of every token, float32 [tokens, dimensions].

        Raises ValueError for inputs that cannot be: no tokens, or more than there are positions.
        """
        lengths = np.asarray(lengths, np.int32)
        if len(lengths) == 0 or lengths.sum(dtype=np.int64) != len(tokens) or min(lengths) < 1:
            raise ValueError("lengths of at least 1 add up to the number of tokens")
        threads = self._crowding.begin()
        batch = _Batch(np.ascontiguousarray(tokens, np.int32), lengths, self.dimensions)
        parts = parts_of(lengths, threads)
        if threads == 1 or len(parts) == 1:
            for part in parts:
                self._encode(self._team, batch, part, threads)
        else:
            self._encode_in_lanes(batch, parts, threads)
        self._crowding.end(len(tokens))
        return batch.states

    def _encode_in_lanes(self, batch: _Batch, parts: Sequence[range], threads: int) -> None:
        left = deque(parts)

        def run(lane: library.Model) -> None:
            while left:
                try:
                    part = left.popleft()
                except IndexError:  # another lane was faster
                    return
                self._encode(lane, batch, part, 1)

        others = [self._threads.submit(run, lane) for lane in self._lanes[1:threads]]
        try:
            run(self._lanes[0])
        finally:
            left.clear()
            for other in others:
                other.result()

    def _encode(self, model: library.Model, batch: _Batch, part: range, threads: int) -> None:
        rows = slice(batch.starts[part.start], batch.starts[part.stop])
        starts = batch.starts[part.start : part.stop + 1] - rows.start
        sequences = np.repeat(np.arange(len(part), dtype=np.int32), batch.lengths[part.start : part.stop])
        tokens, positions = batch.tokens[rows], np.arange(rows.stop - rows.start, dtype=np.int32)
        positions -= starts[sequences]
        described = library.Batch(
            rows=len(tokens),
            tokens=tokens.ctypes.data,
            sequences=sequences.ctypes.data,
            positions=positions.ctypes.data,
            starts=starts.ctypes.data,
            starts_count=len(part),
            threads=threads,
        )
        states = model.encode(described, self._result)
        batch.states[rows] = model.floats(states, len(tokens), self.dimensions)


class _Batch:
    """Inputs one behind the other, and room for their states."""

    def __init__(self, tokens: Ints, lengths: Ints, dimensions: int) -> None:
        self.tokens = tokens
        self.lengths = lengths
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.states = np.empty((len(tokens), dimensions), np.float32)


def parts_of(lengths: Ints, threads: int) -> list[range]:
    """Cut inputs into ranges of about as many tokens each: as many as keep all threads busy to the end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    tokens = int(ends[-1])
    lanes = threads if tokens >= threads * _LANE_TOKENS else 1
    count = lanes * -(-tokens // (lanes * _PART_TOKENS))
    middles = ends - lengths / 2
    cuts = np.searchsorted(middles, np.arange(1, count) * tokens / count)
    places = [0, *np.unique(cuts).tolist(), len(lengths)]
    return [range(first, last) for first, last in pairwise(places) if first < last]
