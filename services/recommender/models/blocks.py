"""Wide matrices a part at a time: how many rows may be dense at once, and what is kept of them."""

from __future__ import annotations

import numpy as np

from services.recommender.entities import Floats

VALUES = 1 << 24
"""float32 values that are in memory at once: 64 MB."""


def blocks(rows: int, width: int) -> list[slice]:
    """Return slices of `rows`, at least one, each so short that its rows of `width` values take 64 MB."""
    step = max(1, VALUES // max(width, 1))
    return [slice(begin, begin + step) for begin in range(0, max(rows, 1), step)]


def largest(values: Floats, k: int) -> Floats:
    """Return (rows, columns) the `k` largest of each row, the others 0."""
    if k >= values.shape[1]:
        return values.astype(np.float32)
    kept = np.zeros(values.shape, np.float32)
    chosen = np.argpartition(-values, k - 1, axis=1)[:, :k]
    np.put_along_axis(kept, chosen, np.take_along_axis(values, chosen, axis=1), axis=1)
    return kept
