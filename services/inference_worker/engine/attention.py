"""Attention of a ragged batch under transformers' models: every sequence reads its own blocks and no more.

The models run unmodified: their tokens travel as one flat row, `PagedCache` stands in for their cache and
`attend` for their attention. What a sequence gets does not depend on who shares the step (but for the order
in which a matrix product of another height adds up), and a short one does not pay for a long one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Cache

from services.inference_worker.engine.batch import BLOCK_TOKENS, RaggedBatch
from services.inference_worker.engine.torch_attention import (
    Segment,
    attend_segment,
    mask_segment,
    places,
    segments,
)
from services.inference_worker.engine.torch_device import zeros

NAME = "trunkline"


class UnsupportedAttention(Exception):  # noqa: N818 - a name of the domain
    """The model's attention does something that this one does not; the message says what."""


class PagedCache(Cache):
    """Keys and values of `blocks` blocks a layer, [blocks, 16, heads, size], made when a layer first writes.

    Before each forward `begin` says whose tokens the flat row holds.
    """

    def __init__(self, blocks: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self._blocks = blocks
        self._device = device
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._places = torch.empty(0, dtype=torch.long)
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}
        self.segments: list[Segment] = []

    @property
    def memory_bytes(self) -> int:
        """What the layers written to so far take."""
        return sum(each.nbytes for kept in self._kept.values() for each in kept)

    def begin(self, batch: RaggedBatch) -> None:
        """Set the batch of the coming forward."""
        self._places = torch.tensor(places(batch), dtype=torch.long, device=self._device)
        self._masks = {}
        self.segments = list(segments(batch, self._device))

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - transformers' signature
        """Return 0: positions are always given."""
        return 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the row's keys and values [1, heads, tokens, size]; `attend` reads them, not what returns."""
        states = (key_states[0].transpose(0, 1), value_states[0].transpose(0, 1))
        if layer_idx not in self._kept:
            keys, values = (
                zeros((self._blocks, BLOCK_TOKENS, *new.shape[1:]), new.dtype, new.device) for new in states
            )
            self._kept[layer_idx] = (keys, values)
        for kept, new in zip(self._kept[layer_idx], states, strict=True):
            kept.flatten(0, 1).index_copy_(0, self._places, new)
        return key_states, value_states

    def read(self, segment: Segment, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a sequence up to the segment's end, each [tokens, heads, size]."""
        keys, values = (kept[segment.table].flatten(0, 1)[: segment.end] for kept in self._kept[layer_idx])
        return keys, values

    def mask(self, index: int, window: int | None, groups: int, like: Tensor) -> Tensor | None:
        """Return the mask of segment `index`, the same one for all layers of a window."""
        if (index, window) not in self._masks:
            segment = self.segments[index]
            self._masks[index, window] = mask_segment(segment, window, groups, like)
        return self._masks[index, window]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,  # noqa: ARG001 - in the cache by now
    value: Tensor,  # noqa: ARG001
    attention_mask: Tensor | None,  # noqa: ARG001 - masks follow from the segments
    *,
    pages: PagedCache,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **extras: Any,
) -> tuple[Tensor, None]:
    """Return the attention of a flat row of segments, [1, tokens, heads, size].

    `query` is [1, heads, tokens, size]. Raises UnsupportedAttention for a model that asks for more (soft
    caps, sinks, biases).
    """
    _refuse(extras)
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # every attention of transformers has one
    queries = query[0].transpose(0, 1).contiguous()
    rows = []
    for index, segment in enumerate(pages.segments):
        keys, values = pages.read(segment, layer)
        mask = pages.mask(index, sliding_window, query.shape[1] // keys.shape[1], query)
        rows.append(attend_segment(queries[segment.rows], keys, values, mask, scaling))
    return torch.cat(rows)[None], None


def _refuse(extras: dict[str, Any]) -> None:
    asked = [name for name in ("softcap", "s_aux", "position_bias") if extras.get(name) is not None]
    if asked:
        raise UnsupportedAttention(f"its attention uses {', '.join(asked)}, which this engine does not know")


AttentionInterface.register(NAME, attend)
