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
from math import log1p, log10

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
        if value > known[-peaks - 1]:
            excesses = [each - known[-peaks - 1] for each in known[-peaks:]]
            high = _beyond(value - known[-peaks - 1], excesses, count, known[-peaks - 1] - known[count // 2])
        if value < known[peaks]:
            excesses = [known[peaks] - each for each in known[:peaks]]
            low = _beyond(known[peaks] - value, excesses, count, known[count // 2] - known[peaks])
        return high, low


def _beyond(excess: float, excesses: Sequence[float], count: int, body: float) -> float:
    """Return -log10 P of an excess; `body`, from the median to the threshold, bounds the scale from below."""
    peaks = len(excesses)
    mean = sum(excesses) / peaks
    variance = sum(each * each for each in excesses) / peaks - mean * mean
    least = 1e-3 * body + 1e-9
    ratio = mean * mean / variance if variance > 0 else 1.0
    shape, scale = 0.5 * (1 - ratio), 0.5 * mean * (ratio + 1)
    exponential = excess / max(mean, least)
    decay = exponential if shape <= 0.01 else log1p(shape * excess / max(scale, least)) / shape
    return log10(count / peaks) + decay / _DECADE
