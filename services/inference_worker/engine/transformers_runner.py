"""The runner for every decoder that transformers has: its model unmodified, our cache and attention under it.

On a CUDA device it is written after the documentation and untested on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from typing import Any

import torch
from torch import Tensor

from services.inference_worker.engine.attention import SlotCache, rows_of
from services.inference_worker.engine.sequence import Segment, Sequence
from services.inference_worker.engine.weights import LoadedModel
from services.inference_worker.wire import Sampling


class TransformersRunner:
    """A decoder of transformers with a cache of `cache_tokens` tokens. One thread at a time.

    `end_token_ids` end an answer beside the ones that the model's own files name.
    """

    def __init__(
        self, loaded: LoadedModel, cache_tokens: int, end_token_ids: frozenset[int] = frozenset()
    ) -> None:
        self._model: Any = loaded.model
        self._device = loaded.device
        self._cache = SlotCache(cache_tokens)
        self.context_length = min(loaded.context_length, cache_tokens)
        self.vocabulary_size = loaded.vocabulary_size
        self.end_token_ids = loaded.end_token_ids | end_token_ids
        self._warm_up()
        self.memory_bytes = loaded.weight_bytes + self._cache.memory_bytes

    @torch.inference_mode()
    def forward(self, segments: Rows[Segment]) -> Tensor:
        """Read the segments and return the logits after each complete one, float32 [complete, vocabulary]."""
        tokens = [token for segment in segments for token in segment.tokens]
        positions = [place for segment in segments for place in range(segment.start, segment.end)]
        lasts = _lasts(segments)
        self._cache.begin(list(segments), self._tensor(rows_of(segments)))
        output = self._model(
            input_ids=self._tensor(tokens)[None],
            position_ids=self._tensor(positions)[None],
            past_key_values=self._cache,
            use_cache=True,
            # A step that completes nothing still needs a row: the head's cost for one is next to nothing.
            logits_to_keep=self._tensor(lasts or [0]),
            slots=self._cache,
        )
        logits: Tensor = output.logits[0].float()
        return logits[: len(lasts)]

    def _tensor(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def _warm_up(self) -> None:
        """Run one token through: allocates the cache, and shows what the model needs that is not here."""
        sequence = Sequence(0, [0], 1, 2, Sampling(max_tokens=1), frozenset(), 0.0, 0.0, offset=0)
        self.forward([Segment(sequence, 1)])


def _lasts(segments: Rows[Segment]) -> list[int]:
    """Return the row of the last token of each complete segment."""
    at, lasts = 0, []
    for segment in segments:
        at += segment.length
        if segment.complete:
            lasts.append(at - 1)
    return lasts
