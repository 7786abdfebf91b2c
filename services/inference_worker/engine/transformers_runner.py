"""The runner for every decoder that transformers has: its model unmodified, our cache and attention under it.

It serves what no adapter knows. On a CUDA device it is written after the documentation and untested on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.inference_worker.engine.attention import PagedCache
from services.inference_worker.engine.batch import BLOCK_TOKENS, Ints, Part, RaggedBatch, pack
from services.inference_worker.engine.runner import StepResult
from services.inference_worker.engine.torch_device import computing
from services.inference_worker.engine.weights import LoadedModel


class TransformersRunner:
    """A decoder of transformers with a cache of `blocks` blocks.

    `end_token_ids` end an answer beside the ones that the model's own files name.
    """

    def __init__(self, loaded: LoadedModel, blocks: int, end_token_ids: frozenset[int] = frozenset()) -> None:
        self._model: Any = loaded.model
        self._device = loaded.device
        self._cache = PagedCache(blocks, loaded.device)
        self.blocks = blocks
        self.context_length = min(loaded.context_length, blocks * BLOCK_TOKENS)
        self.vocabulary_size = loaded.vocabulary_size
        self.end_token_ids = loaded.end_token_ids | end_token_ids
        # Allocates the cache, and shows what the model needs that is not here.
        self.step(pack([Part([0], 0, [0], 1)]))
        self.memory_bytes = loaded.weight_bytes + self._cache.memory_bytes

    @computing()
    def step(self, batch: RaggedBatch) -> StepResult:
        """Read the rows: put their keys and values into the cache, and return the logits that are wanted."""
        self._cache.begin(batch)
        wanted = len(batch.wanted)
        output = self._model(
            input_ids=self._tensor(batch.tokens)[None],
            position_ids=self._tensor(batch.positions)[None],
            past_key_values=self._cache,
            use_cache=True,
            # A step of which nothing is wanted still needs a row: the head's cost for one is next to nothing.
            logits_to_keep=self._tensor(batch.wanted if wanted else np.zeros(1, np.int32)),
            pages=self._cache,
        )
        logits = output.logits[0, :wanted].float().cpu().numpy()
        return StepResult(np.argmax(logits, axis=1).astype(np.int32), logits)

    def _tensor(self, values: Ints) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)
