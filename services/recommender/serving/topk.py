"""Exact top-k, row by row, of scores that fit in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Floats

BLOCK = 512
"""Columns a block: 100,000 columns become 196 maxima, which is about the square root's cost."""
_WIDE = 16_384
"""Rows shorter than this are partitioned whole: below, finding blocks costs more than it saves."""


def top_k(scores: Floats, k: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the columns and scores (B, min(k, n)) of the best of each row of (B, n), best first.

    Equal scores come in the order of their columns wherever both made the cut. Long rows are looked at by
    block: the k blocks with the largest maxima hold the k best, since each has one as good as its maximum.
    """
    k = min(k, scores.shape[1])
    if k == 0:
        return np.empty((len(scores), 0), np.intp), np.empty((len(scores), 0), np.float32)
    if scores.shape[1] < _WIDE or k * BLOCK * 2 > scores.shape[1]:
        return _ordered(scores, _partition(scores, k))
    return _by_block(scores, k)


def _by_block(scores: Floats, k: int) -> tuple[NDArray[np.intp], Floats]:
    rows, columns = scores.shape
    whole = columns // BLOCK * BLOCK
    maxima = scores[:, :whole].reshape(rows, -1, BLOCK).max(axis=2)
    blocks = np.sort(_partition(maxima, k), axis=1)
    inside = (blocks[:, :, None] * BLOCK + np.arange(BLOCK)).reshape(rows, -1)
    tail = np.broadcast_to(np.arange(whole, columns), (rows, columns - whole))
    candidates = np.concatenate([inside, tail], axis=1)
    best = _partition(np.take_along_axis(scores, candidates, axis=1), k)
    return _ordered(scores, np.take_along_axis(candidates, best, axis=1))


def _partition(scores: Floats, k: int) -> NDArray[np.intp]:
    """Return (B, k) columns of the k largest of each row, in no order."""
    if k == scores.shape[1]:
        return np.broadcast_to(np.arange(k), scores.shape)
    return np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]


def _ordered(scores: Floats, columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    columns = np.sort(columns, axis=1)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
