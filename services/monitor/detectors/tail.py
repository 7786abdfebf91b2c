"""How rare a value is among those before it.

Within what was seen, a rank: of n values r are at least as large, so p = (r + 1) / (n + 1). Above the
(1 - SHARE) quantile u, a peak over a threshold (Pickands, Annals of Statistics 3, 1975; streaming, Siffer et
al., KDD 2017): the k excesses over u follow a generalised Pareto distribution,

    P(X > x) = k/n * (1 + xi (x - u) / b) ^ (-1 / xi)
    xi = (1 - mean^2 / var) / 2,   b = mean (mean^2 / var + 1) / 2

by moments (Hosking and Wallis, Technometrics 29, 1987), and an exponential one where xi is not above 0. The
lower tail is the upper one of the negated values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from math import dist, log1p, log10

SHARE = 0.02
FEWEST = 5
"""Excesses that a tail is fitted to, at least."""
_DECADE = 2.302585092994046


class Tail:
    """The last `keep` values, and how rare a new one is among them."""

    def __init__(self, keep: int, warm_up: int) -> None:
        """Find nothing rare before `warm_up` values, more than FEWEST, are known."""
        if not FEWEST < warm_up <= keep:
            raise ValueError(f"warm_up must be above {FEWEST}, and keep not below it")
        self._keep, self._warm_up = keep, warm_up
        self._sorted: list[float] = []
        self._order: deque[float] = deque()

    def observe(self, value: float) -> tuple[float, float]:
        """Return -log10 of the probabilities of a value as high, and of one as low; then keep the value."""
        rare = (0.0, 0.0) if len(self._sorted) < self._warm_up else self._rarity(value)
        insort(self._sorted, value)
        self._order.append(value)
        if len(self._order) > self._keep:
            oldest = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        return rare

    def _rarity(self, value: float) -> tuple[float, float]:
        known = self._sorted
        count = len(known)
        peaks = max(FEWEST, int(SHARE * count))
        above = count - bisect_left(known, value)
        below = bisect_right(known, value)
        high, low = log10((count + 1) / (above + 1)), log10((count + 1) / (below + 1))
        middle = known[count // 2]
        if value > known[-peaks - 1]:
            high = _beyond(value, known[-peaks:], known[-peaks - 1], count, middle)
        if value < known[peaks]:
            low = _beyond(value, known[:peaks], known[peaks], count, middle)
        return high, low


def _beyond(value: float, peaks: Sequence[float], threshold: float, count: int, middle: float) -> float:
    """Return -log10 P of a value beyond the threshold, above or below; the median bounds the scale."""
    known = len(peaks)
    mean = abs(sum(peaks) / known - threshold)
    variance = dist(peaks, [threshold] * known) ** 2 / known - mean * mean
    least = 1e-3 * abs(threshold - middle) + 1e-9
    ratio = mean * mean / variance if variance > 0 else 1.0
    shape, scale = 0.5 * (1 - ratio), 0.5 * mean * (ratio + 1)
    excess = abs(value - threshold)
    exponential = excess / max(mean, least)
    decay = exponential if shape <= 0.01 else log1p(shape * excess / max(scale, least)) / shape
    return log10(count / known) + decay / _DECADE
