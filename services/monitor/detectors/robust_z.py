"""How far a value is from the median of those before it, in robust deviations.

    z = (x - median) / (IQR / 1.349)

over the last `keep` values (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993; the
interquartile range in place of the median deviation, since a sorted window has it at hand). 1.349
deviations are the interquartile range of a normal distribution. A quarter of the window may be wild and
moves it little.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

NORMAL_IQR = 1.349


class RobustZ:
    """The last `keep` values of one series."""

    def __init__(self, keep: int = 512, warm_up: int = 30) -> None:
        """Return 0 for the first `warm_up` values."""
        if not 4 <= warm_up <= keep:
            raise ValueError("warm_up must be at least 4, and keep not below it")
        self._keep, self._warm_up = keep, warm_up
        self._sorted: list[float] = []
        self._order: deque[float] = deque()

    def observe(self, value: float) -> float:
        """Return the value's distance in deviations, infinite where all before it were one; then keep it."""
        z = self._z(value) if len(self._sorted) >= self._warm_up else 0.0
        insort(self._sorted, value)
        self._order.append(value)
        if len(self._order) > self._keep:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        return z

    def _z(self, value: float) -> float:
        distance = value - _quantile(self._sorted, 0.5)
        spread = (_quantile(self._sorted, 0.75) - _quantile(self._sorted, 0.25)) / NORMAL_IQR
        if spread > 0:
            return distance / spread
        return 0.0 if distance == 0 else float("inf") if distance > 0 else float("-inf")


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
