"""How unlike the last values are to any stretch before them: the distance to the nearest neighbour.

The left matrix profile of Zhu et al. ("Matrix Profile VII", ICDM 2017) without normalising, kept by lag: with
D_t[k] the squared distance between the last `length` values and those k points earlier,

    D_t[k] = D_{t-1}[k] + (x_t - x_{t-k})^2 - (x_{t-length} - x_{t-length-k})^2

so a point costs O(keep), whatever the length. A season needs no name here: last week's stretch is a
neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
        # By length, and then by lag, the last one lag 1, as the values lie. Rows of their own: NumPy adds a
        # row to each of two rows in half the time that it takes to add it to a matrix of two.
        self._squares = [np.zeros(keep) for _ in lengths]
        self._added, self._gone = np.empty(keep), np.empty(keep)

    def observe(self, value: float) -> list[float | None]:
        """Return the distance of each length's stretch to its nearest, None where there is none yet."""
        if self._seen % self._keep == 0:
            self._forget_rounding()
        if self._end == len(self._past):
            self._move()
        self._past[self._end] = value
        self._end += 1
        self._seen += 1
        self._apart(1, self._added)
        return [self._nearest(squares, length) for squares, length in self._rows()]

    def _rows(self) -> Iterator[tuple[Floats, int]]:
        return zip(self._squares, self._lengths, strict=True)

    def _nearest(self, squares: Floats, length: int) -> float | None:
        squares += self._added
        squares -= self._apart(length + 1, self._gone)
        # Lags below `length` overlap the stretch itself.
        first, end = max(self._keep - self._seen + length, 0), self._keep - length + 1
        return max(float(_least(squares[first:end])), 0.0) ** 0.5 if first < end else None

    def _apart(self, ago: int, into: Floats) -> Floats:
        """Return (y - x)^2, x the value `ago` points before the end, y the `keep` ones before x."""
        place = self._end - ago
        np.subtract(self._past[place - self._keep : place], self._past.item(place), out=into)
        return np.multiply(into, into, out=into)

    def _forget_rounding(self) -> None:
        """Add up anew: a huge value leaves an error behind that would stay for ever."""
        for squares, length in self._rows():
            squares[:] = 0.0
            for ago in range(1, length + 1):
                np.add(squares, self._apart(ago, self._gone), out=squares)

    def _move(self) -> None:
        kept = self._keep + max(self._lengths) + 1
        self._past[:kept] = self._past[self._end - kept :].copy()
        self._end = kept
