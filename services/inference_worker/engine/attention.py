"""Attention of a ragged batch: every sequence reads its own run of the cache and no more.

transformers' models run unmodified: their tokens travel as one flat row, `SlotCache` stands in for their
cache and `attend` for their attention. What a sequence gets does not depend on who shares the step (but for
the order in which a matrix product of another height adds up), and a short one does not pay for a long one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache

from services.inference_worker.engine.sequence import Segment

NAME = "trunkline"


class UnsupportedAttention(Exception):  # noqa: N818 - a name of the domain
    """The model's attention does something that this one does not; the message says what."""


class SlotCache(Cache):
    """Keys and values of `tokens` tokens a layer, allocated when a layer first writes: [tokens, heads, size].

    Before each forward `begin` says whose tokens the flat row holds.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(layers=[])
        self._tokens = tokens
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._rows = torch.empty(0, dtype=torch.long)
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}
        self.segments: list[Segment] = []

    @property
    def memory_bytes(self) -> int:
        """What the layers written to so far take."""
        return sum(each.nbytes for kept in (self._keys, self._values) for each in kept.values())

    def begin(self, segments: list[Segment], rows: Tensor) -> None:
        """Set the segments of the coming forward; `rows` [tokens] is where each token's key and value go."""
        self.segments, self._rows, self._masks = segments, rows, {}

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - transformers' signature
        """Return 0: positions are always given."""
        return 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the row's keys and values [1, heads, tokens, size]; `attend` reads them, not what returns."""
        for kept, states in ((self._keys, key_states), (self._values, value_states)):
            new = states[0].transpose(0, 1)
            if layer_idx not in kept:
                kept[layer_idx] = new.new_empty(self._tokens, *new.shape[1:])
            kept[layer_idx].index_copy_(0, self._rows, new)
        return key_states, value_states

    def read(self, segment: Segment, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a sequence up to the segment's end, each [1, heads, tokens, size]."""
        run = slice(segment.sequence.offset, segment.sequence.offset + segment.end)
        return (
            self._keys[layer_idx][run].transpose(0, 1)[None],
            self._values[layer_idx][run].transpose(0, 1)[None],
        )

    def mask(self, index: int, window: int | None, groups: int, like: Tensor) -> Tensor | None:
        """Return what is added to the scores of segment `index`, [groups x length, end]; None for 0.

        A token sees itself and what is before it: all of it, or `window` tokens with itself.
        """
        if (index, window) not in self._masks:
            segment = self.segments[index]
            self._masks[index, window] = _mask(segment, window, groups, like)
        return self._masks[index, window]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,  # noqa: ARG001 - in the cache by now
    value: Tensor,  # noqa: ARG001
    attention_mask: Tensor | None,  # noqa: ARG001 - masks follow from the segments
    *,
    slots: SlotCache,
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
    rows: list[Tensor] = []
    at = 0
    for index, segment in enumerate(slots.segments):
        keys, values = slots.read(segment, layer)
        heads, kept = query.shape[1], keys.shape[1]
        # Heads that share keys lie beside each other: as one head of more rows they need no copies of them.
        packed = queries[at : at + segment.length].transpose(0, 1).reshape(1, kept, -1, query.shape[-1])
        mask = slots.mask(index, sliding_window, heads // kept, query)
        out = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scaling)
        rows.append(out.reshape(heads, segment.length, -1).transpose(0, 1))
        at += segment.length
    return torch.cat(rows)[None], None


def _mask(segment: Segment, window: int | None, groups: int, like: Tensor) -> Tensor | None:
    if segment.length == 1 and (window is None or segment.end <= window):
        return None
    columns = torch.arange(segment.end, device=like.device)
    here = columns[segment.start :, None]
    hidden = columns > here
    if window is not None:
        hidden |= columns <= here - window
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)
    return mask.repeat(groups, 1)


def _refuse(extras: dict[str, Any]) -> None:
    asked = [name for name in ("softcap", "s_aux", "position_bias") if extras.get(name) is not None]
    if asked:
        raise UnsupportedAttention(f"its attention uses {', '.join(asked)}, which this engine does not know")


def rows_of(segments: Iterable[Segment]) -> list[int]:
    """Return the row of the cache of each token of the segments, in order."""
    return [
        row
        for segment in segments
        for row in range(segment.sequence.offset + segment.start, segment.sequence.offset + segment.end)
    ]


AttentionInterface.register(NAME, attend)
