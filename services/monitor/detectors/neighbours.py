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
_least = np.minimum.reduce  # less than half the time of `ndarray.min` on a short array


class Neighbours:
    """The last `keep` values, seen in stretches of one or several lengths."""

    def __init__(self, lengths: Sequence[int] = (4, 48), keep: int = 3_000) -> None:
        """Compare stretches of each of `lengths` with those that ended up to `keep` points earlier."""
        if not lengths or min(lengths) < 1 or max(lengths) >= keep:
            raise ValueError("lengths must be above 0 and below keep")
        self._lengths, self._keep = tuple(lengths), keep
        # Values lie in a row, the newest last; when the row is full its tail moves to the front. Before the
        # first value stand zeros, which the recursion may read: stretches with any of them are never asked.
        self._past = np.zeros(4 * (keep + max(lengths) + 1))
        self._end = keep + max(lengths) + 1
        self._seen = 0
        # By length and lag, the last column lag 1, as the values lie.
        self._squares = np.zeros((len(lengths), keep))
        self._added, self._gone = np.empty(keep), np.empty_like(self._squares)

    def observe(self, value: float) -> list[float | None]:
        """Return the distance of each length's stretch to its nearest, None where there is none yet."""
        if self._seen % self._keep == 0:
            self._forget_rounding()
        if self._end == len(self._past):
            self._move()
        self._past[self._end] = value
        self._end += 1
        self._seen += 1
        self._add()
        return [self._nearest(row, length) for row, length in enumerate(self._lengths)]

    def _add(self) -> None:
        """Take the newest pair of each lag into its sum, and the one that has left out of it."""
        self._differ(1, self._added)
        for row, length in enumerate(self._lengths):
            self._differ(length + 1, self._gone[row])
        self._squares += np.multiply(self._added, self._added, out=self._added)
        self._squares -= np.multiply(self._gone, self._gone, out=self._gone)

    def _nearest(self, row: int, length: int) -> float | None:
        # Lags below `length` overlap the stretch itself.
        first, end = max(self._keep - self._seen + length, 0), self._keep - length + 1
        return max(float(_least(self._squares[row, first:end])), 0.0) ** 0.5 if first < end else None

    def _differ(self, ago: int, into: Floats) -> None:
        """Write y - x, x the value `ago` points before the end, y the `keep` ones before x."""
        place = self._end - ago
        np.subtract(self._past[place - self._keep : place], self._past[place], out=into)

    def _forget_rounding(self) -> None:
        """Add up anew: a huge value leaves an error behind that would stay for ever."""
        self._squares[:] = 0.0
        for row, length in enumerate(self._lengths):
            for ago in range(1, length + 1):
                self._differ(ago, self._added)
                self._squares[row] += self._added * self._added

    def _move(self) -> None:
        kept = self._keep + max(self._lengths) + 1
        self._past[:kept] = self._past[self._end - kept :].copy()
        self._end = kept
