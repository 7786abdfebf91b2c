"""Attention in torch: over a cache of blocks for decoders, over the batch itself for encoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from services.inference_worker.engine.batch import BLOCK_TOKENS, Ints, RaggedBatch
from services.inference_worker.engine.program import Attention, Program
from services.inference_worker.engine.torch_device import zeros


class BlockCache:
    """Keys and values, [layers, blocks, 16, kv_heads, size] each, and a block to spare for rows of nobody."""

    def __init__(self, program: Program, blocks: int, device: torch.device, dtype: torch.dtype) -> None:
        self.spare_block = blocks
        shape = (program.layers, blocks + 1, BLOCK_TOKENS, program.kv_heads, program.head_size)
        self.keys = zeros(shape, dtype, device)
        self.values = zeros(shape, dtype, device)

    @property
    def memory_bytes(self) -> int:
        """What keys and values take."""
        return self.keys.nbytes + self.values.nbytes

    def write(self, layer: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put the keys and values [rows, kv_heads, size] at these places of a layer."""
        for kept, new in ((self.keys, keys), (self.values, values)):
            kept[layer].view(-1, *new.shape[1:]).index_copy_(0, places, new)

    def read(self, layer: int, table: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values in the blocks of a table, each [tokens, kv_heads, size]."""
        return self.keys[layer][table].flatten(0, 1), self.values[layer][table].flatten(0, 1)


@dataclass(frozen=True)
class Segment:
    """The rows of one sequence in a batch, and the cache that they see."""

    rows: slice
    start: int
    end: int
    table: Tensor


def places(batch: RaggedBatch) -> Ints:
    """Return where in the cache each row's key and value go: the place among the tokens of all blocks."""
    blocks = batch.block_tables[batch.sequences, batch.positions // BLOCK_TOKENS]
    slots: Ints = blocks * BLOCK_TOKENS + batch.positions % BLOCK_TOKENS
    return slots


def segments(batch: RaggedBatch, device: torch.device) -> Iterator[Segment]:
    """Yield the sequences of a batch, in the order of their rows."""
    starts = np.flatnonzero(np.diff(batch.sequences, prepend=-1))
    for first, after in zip(starts, [*starts[1:], batch.rows], strict=True):
        start, end = int(batch.positions[first]), int(batch.positions[after - 1]) + 1
        table = batch.block_tables[batch.sequences[first], : -(-end // BLOCK_TOKENS)]
        yield Segment(slice(int(first), int(after)), start, end, torch.tensor(table, device=device))


class CausalAttention:
    """Attention of a step's rows, a sequence at a time: none pays for another's length."""

    def __init__(self, cache: BlockCache, batch: RaggedBatch) -> None:
        device = cache.keys.device
        self._cache = cache
        self._places = torch.tensor(places(batch), dtype=torch.long, device=device)
        self._segments = list(segments(batch, device))
        self._masks: dict[int, Tensor | None] = {}

    def __call__(self, operation: Attention, qkv: Tensor) -> Tensor:
        """Put the rows' keys and values into the cache and return what each row sees there."""
        queries, keys, values = split(operation, qkv)
        self._cache.write(operation.layer, self._places, keys, values)
        return torch.cat([self._attend(operation, queries, index) for index in range(len(self._segments))])

    def _attend(self, operation: Attention, queries: Tensor, index: int) -> Tensor:
        segment = self._segments[index]
        if index not in self._masks:
            self._masks[index] = mask_segment(segment, None, operation.heads // operation.kv_heads, queries)
        keys, values = (each[: segment.end] for each in self._cache.read(operation.layer, segment.table))
        mine = queries[segment.rows]
        return attend_segment(mine, keys, values, self._masks[index], operation.scale).flatten(1)


class FullAttention:
    """Attention of inputs to themselves, all inputs of one length in one call."""

    def __init__(self, lengths: Ints, device: torch.device) -> None:
        ends = np.cumsum(lengths)
        self._groups = [
            torch.tensor((ends - lengths)[lengths == length][:, None] + np.arange(length), device=device)
            for length in np.unique(lengths)
        ]

    def __call__(self, operation: Attention, qkv: Tensor) -> Tensor:
        """Return what each row sees of its own input."""
        out = qkv.new_empty(len(qkv), operation.heads * operation.size)
        parts = split(operation, qkv)
        for rows in self._groups:
            queries, keys, values = (each[rows].transpose(1, 2) for each in parts)
            attended = scaled_dot_product_attention(
                queries, keys, values, scale=operation.scale, enable_gqa=operation.heads != operation.kv_heads
            )
            out[rows] = attended.transpose(1, 2).flatten(2)
        return out


class RowAttention:
    """Attention of rows that are each the last of their sequence, in shapes that depend on nothing else.

    `positions` is [rows], `tables` [rows, width], both on the device: what a captured graph needs.
    """

    def __init__(self, cache: BlockCache, positions: Tensor, tables: Tensor) -> None:
        blocks = tables.gather(1, (positions // BLOCK_TOKENS)[:, None])[:, 0]
        self._places = blocks * BLOCK_TOKENS + positions % BLOCK_TOKENS
        columns = torch.arange(tables.shape[1] * BLOCK_TOKENS, device=tables.device)
        self._seen = (columns <= positions[:, None])[:, None, None]
        self._cache, self._tables = cache, tables

    def __call__(self, operation: Attention, qkv: Tensor) -> Tensor:
        """Put the rows' keys and values into the cache and return what each row sees there."""
        queries, keys, values = split(operation, qkv)
        self._cache.write(operation.layer, self._places, keys, values)
        kept = self._cache.read(operation.layer, self._tables.flatten())
        keys, values = (each.view(len(qkv), -1, *each.shape[1:]).transpose(1, 2) for each in kept)
        packed = queries.reshape(len(qkv), operation.kv_heads, -1, operation.size)
        attended = scaled_dot_product_attention(
            packed, keys, values, attn_mask=self._seen, scale=operation.scale
        )
        return attended.flatten(1)


def split(operation: Attention, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [rows, heads, size], keys and values [rows, kv_heads, size]."""
    heads = [operation.heads, operation.kv_heads, operation.kv_heads]
    queries, keys, values = torch.split(qkv.view(len(qkv), -1, operation.size), heads, dim=1)
    return queries, keys, values


def attend_segment(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Return the attention of one sequence's rows, [rows, heads, size] as `queries` are.

    `keys` and `values` are [tokens, kv_heads, size]; `mask` is added to the scores [groups · rows, tokens].
    """
    rows, heads, size = queries.shape
    # Heads that share keys lie beside each other: as one head of more rows they need no copies of them.
    packed = queries.transpose(0, 1).reshape(1, keys.shape[1], -1, size)
    keys, values = keys.transpose(0, 1)[None], values.transpose(0, 1)[None]
    attended = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scale)
    return attended.reshape(heads, rows, -1).transpose(0, 1)


def mask_segment(segment: Segment, window: int | None, groups: int, like: Tensor) -> Tensor | None:
    """Return what is added to the scores of a segment, [groups · rows, end]; None for 0.

    A row sees itself and what is before it: all of it, or `window` tokens with itself.
    """
    if segment.end - segment.start == 1 and (window is None or segment.end <= window):
        return None
    columns = torch.arange(segment.end, device=like.device)
    here = columns[segment.start :, None]
    hidden = columns > here
    if window is not None:
        hidden |= columns <= here - window
    added = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return added.masked_fill_(hidden, -torch.inf).repeat(groups, 1)
