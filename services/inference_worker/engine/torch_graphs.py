"""Decoding steps as captured graphs: one launch instead of one for every operation. Untested on a GPU.

A graph has fixed shapes: rows and width of the block tables are rounded up to one of a few sizes. The rows
that are added belong to nobody; their keys and values go to a block that no sequence has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from services.inference_worker.engine.batch import BLOCK_TOKENS, RaggedBatch
from services.inference_worker.engine.torch_attention import BlockCache, RowAttention
from services.inference_worker.engine.torch_program import TorchProgram

_LARGEST = 64
"""Rows up to which a step is worth a graph; beyond it, launching is no longer what takes the time."""


class Graph(Protocol):
    """Work that was recorded, on the tensors that it was recorded with."""

    def replay(self) -> None:
        """Do it again."""


Capture = Callable[[Callable[[], None]], Graph]
"""Records what a function does on a device."""


def capture(work: Callable[[], None]) -> Graph:
    """Record work on the current CUDA device, once warmed up on a stream of its own as CUDA asks."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


@dataclass(frozen=True)
class _Step:
    """A graph with the tensors that it reads and the one that it fills."""

    graph: Graph
    tokens: Tensor
    positions: Tensor
    tables: Tensor
    logits: Tensor


class DecodeGraphs:
    """The graphs of one decoder, each recorded when its size is first met."""

    def __init__(self, model: TorchProgram, cache: BlockCache, record: Capture = capture) -> None:
        self._model = model
        self._cache = cache
        self._record = record
        self._steps: dict[tuple[int, int], _Step] = {}

    def serves(self, batch: RaggedBatch) -> bool:
        """Return whether every sequence of the batch has one row and wants its logits."""
        return len(batch.block_tables) == batch.rows == len(batch.wanted) and batch.rows <= _LARGEST

    def logits(self, batch: RaggedBatch) -> Tensor:
        """Return the logits of a batch that it serves, [rows, vocabulary], valid until the next call."""
        longest = int(batch.positions.max()) // BLOCK_TOKENS + 1
        size = (_rounded(batch.rows), _rounded(longest))
        step = self._steps.get(size) or self._recorded(*size)
        rows, width = batch.rows, min(size[1], batch.block_tables.shape[1])
        step.positions.zero_()
        step.tables.fill_(self._cache.spare_block)
        step.tokens[:rows].copy_(torch.from_numpy(batch.tokens.astype(np.int64)))
        step.positions[:rows].copy_(torch.from_numpy(batch.positions.astype(np.int64)))
        step.tables[:rows, :width].copy_(torch.from_numpy(batch.block_tables[:, :width].astype(np.int64)))
        step.graph.replay()
        return step.logits[:rows]

    def _recorded(self, rows: int, width: int) -> _Step:
        tokens, positions = (torch.zeros(rows, dtype=torch.long, device=self._model.device) for _ in "tp")
        tables = torch.full((rows, width), self._cache.spare_block, device=self._model.device)
        logits = torch.empty(rows, self._model.program.vocabulary_size, device=self._model.device)
        wanted = torch.arange(rows, device=self._model.device)

        def work() -> None:
            attention = RowAttention(self._cache, positions, tables)
            logits.copy_(self._model.run(tokens, positions, attention, wanted))

        step = _Step(self._record(work), tokens, positions, tables, logits)
        self._steps[rows, width] = step
        return step


def _rounded(number: int) -> int:
    """Return the next power of two: few graphs, and at most twice the work."""
    return 1 << (number - 1).bit_length()
