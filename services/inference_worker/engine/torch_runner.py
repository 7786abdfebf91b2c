"""The runner of decoders in torch: the reference for every other runner, exact in float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from services.inference_worker.engine.batch import BLOCK_TOKENS, RaggedBatch
from services.inference_worker.engine.runner import StepResult
from services.inference_worker.engine.torch_attention import BlockCache, CausalAttention
from services.inference_worker.engine.torch_device import computing
from services.inference_worker.engine.torch_graphs import Capture, DecodeGraphs
from services.inference_worker.engine.torch_program import TorchProgram


class TorchRunner:
    """A decoder's program in torch, with a cache of `blocks` blocks.

    `end_token_ids` are the tokens with which the model ends an answer. `record` makes graphs of the steps
    that only decode; without it, which is right on a CPU, there are none. On a CUDA device all of it is
    written after the documentation and untested on a GPU.
    """

    def __init__(
        self, model: TorchProgram, blocks: int, end_token_ids: frozenset[int], record: Capture | None = None
    ) -> None:
        self._model = model
        self._cache = BlockCache(model.program, blocks, model.device, model.dtype)
        self._graphs = DecodeGraphs(model, self._cache, record) if record else None
        self.blocks = blocks
        self.context_length = min(model.program.context_length, blocks * BLOCK_TOKENS)
        self.vocabulary_size = model.program.vocabulary_size
        self.end_token_ids = end_token_ids
        self.memory_bytes = model.weight_bytes + self._cache.memory_bytes

    @computing()
    def step(self, batch: RaggedBatch) -> StepResult:
        """Read the rows: put their keys and values into the cache, and return the logits that are wanted."""
        if self._graphs and self._graphs.serves(batch):
            made = self._graphs.logits(batch)
        else:
            made = self._logits(batch)
        logits = made.float().cpu().numpy()
        return StepResult(np.argmax(logits, axis=1).astype(np.int32), logits)

    def _logits(self, batch: RaggedBatch) -> Tensor:
        tokens, positions, wanted = (
            torch.tensor(each, dtype=torch.long, device=self._model.device)
            for each in (batch.tokens, batch.positions, batch.wanted)
        )
        return self._model.run(tokens, positions, CausalAttention(self._cache, batch), wanted)
