"""How unlike the last values are to any stretch before them: the distance to the nearest neighbour.

The left matrix profile of Zhu et al. ("Matrix Profile VII", ICDM 2017) without normalising, kept by lag: with
D_t[k] the squared distance between the last `length` values and those k points earlier,

    D_t[k] = D_{t-1}[k] + (x_t - x_{t-k})^2 - (x_{t-length} - x_{t-length-k})^2

so a point costs O(keep), whatever the length. A season needs no name here: last week's stretch is a
neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Neighbours:
    """The last `keep` values, seen in stretches of one or several lengths."""

    def __init__(self, lengths: Sequence[int] = (4, 48), keep: int = 4_000) -> None:
        """Compare stretches of each of `lengths` with those that began up to `keep` points earlier."""
        if not lengths or min(lengths) < 1 or max(lengths) >= keep:
            raise ValueError("lengths must be above 0 and below keep")
        self._lengths, self._keep = tuple(lengths), keep
        # Values lie in a row, the newest last; when the buffer is full its tail moves to the front.
        self._past = np.zeros(4 * (keep + max(lengths)) + 1)
        self._end = self._seen = 0
        self._squares = np.zeros((len(lengths), keep))
        """By length, and by lag less 1 from the right: the last column is lag 1, as the values lie."""
        self._added, self._gone = np.empty(keep), np.empty(keep)

    def observe(self, value: float) -> list[float | None]:
        """Return the distance of each length's stretch to its nearest, None where there is none yet."""
        self._append(value)
        lags = min(self._keep, self._end - 1)
        added = self._apart(0, lags, self._added)
        self._seen += 1
        if self._seen % self._keep == 0:
            self._forget_rounding()
        return [self._nearest(row, length, added) for row, length in enumerate(self._lengths)]

    def _forget_rounding(self) -> None:
        """Add up anew what the next point begins from: a huge value leaves an error that none would leave."""
        for row, length in enumerate(self._lengths):
            self._squares[row] = 0.0
            for ago in range(1, length + 1):
                lags = min(self._keep, self._end - 1 - ago)
                self._squares[row, self._keep - max(lags, 0) :] += self._apart(ago, max(lags, 0), self._gone)

    def _append(self, value: float) -> None:
        if self._end == len(self._past):
            kept = self._keep + max(self._lengths)
            self._past[:kept] = self._past[self._end - kept :].copy()
            self._end = kept
        self._past[self._end] = value
        self._end += 1

    def _apart(self, ago: int, lags: int, into: Floats) -> Floats:
        """Return (x - y)^2, x the value `ago` points before the last, y those `lags` to 1 before x."""
        last = self._end - 1 - ago
        part = into[len(into) - lags :]
        np.subtract(self._past[last - lags : last], self._past[last], out=part)
        return np.multiply(part, part, out=part)

    def _nearest(self, row: int, length: int, added: Floats) -> float | None:
        squares = self._squares[row]
        squares[self._keep - len(added) :] += added  # of `length` + 1 points now
        lags = min(self._keep, self._end - 1 - length)
        if lags > 0:
            squares[self._keep - lags :] -= self._apart(length, lags, self._gone)
        # Lags below `length` overlap the stretch itself, and the oldest ones have less than `length` values.
        whole = squares[self._keep - max(min(self._keep, self._end - length), 0) : self._keep - length + 1]
        return max(float(whole.min()), 0.0) ** 0.5 if len(whole) else None
