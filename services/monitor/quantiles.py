"""Quantiles from bucket counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True)
class Spread:
    """Bucket counts of a window: `counts[i]` measurements in (bounds[i-1], bounds[i]], the last above all."""

    bounds: tuple[float, ...]
    counts: Sequence[int]
    maximum: float | None = None
    """The largest measurement, where it is known."""

    def quantile(self, q: float) -> float | None:
        """Return the value that a share `q` (0 to 1) of the measurements does not exceed; None without any.

        As Prometheus' histogram_quantile: measurements are taken to lie evenly in their bucket, and the
        lowest bucket to begin at 0 where its bound is above 0. The last bucket has no bound: it is taken to
        end at the maximum, or, where that is not known, the highest bound is returned. No answer exceeds a
        known maximum.
        """
        rank = q * sum(self.counts)
        if not rank and not any(self.counts):
            return None
        below = list(accumulate(self.counts, initial=0))
        index = next(i for i, (low, high) in enumerate(pairwise(below)) if high >= rank and high > low)
        low, high = self._edges(index)
        value = low + (high - low) * (rank - below[index]) / self.counts[index]
        return value if self.maximum is None else min(value, self.maximum)

    def _edges(self, index: int) -> tuple[float, float]:
        if not self.bounds:
            return (0.0, self.maximum or 0.0)
        if index == len(self.bounds):
            last = self.bounds[-1]
            return (last, max(last, self.maximum)) if self.maximum is not None else (last, last)
        high = self.bounds[index]
        return (self.bounds[index - 1] if index else min(0.0, high), high)


def merge(parts: Iterable[Spread]) -> Spread:
    """Return the parts as one.

    Where their bounds differ, the result has all of them, and a count keeps its upper bound: quantiles then
    err upwards, by at most the width of the wider bucket.
    """
    spreads = [part for part in parts if any(part.counts)]
    bounds = tuple(sorted({bound for spread in spreads for bound in spread.bounds}))
    index = {bound: i for i, bound in enumerate(bounds)}
    counts = [0] * (len(bounds) + 1)
    for spread in spreads:
        places = [*(index[bound] for bound in spread.bounds), len(bounds)]
        for place, count in zip(places, spread.counts, strict=True):
            counts[place] += count
    return Spread(bounds, counts, _maximum(spreads))


def _maximum(spreads: Sequence[Spread]) -> float | None:
    known = [spread.maximum for spread in spreads if spread.maximum is not None]
    return max(known) if known and len(known) == len(spreads) else None
