"""ADWIN: a window that grows while its mean stays, and loses its old half when it does not.

Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SIAM SDM 2007. The window is
kept as an exponential histogram: rows of at most ROOM buckets, those of row i standing for 2^i values each,
so n values take O(log n) memory. It is cut where two parts of n0 and n1 values differ in mean by

    eps = sqrt(2/m * v * ln(2/d)) + 2/(3 m) * ln(2/d),   1/m = 1/n0 + 1/n1,   d = delta / ln(n)

(equation 3.1 there), v the variance of the window. Those are its bounds for values in [0, 1]; for others they
hold in the approximation of the normal distribution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt

ROOM = 5
"""Buckets of a row; one more, and its two oldest become one of the next row."""
PART = 5
"""Values that a part must have for its mean to be compared."""


@dataclass(frozen=True, slots=True)
class _Bucket:
    total: float
    variance: float
    """The sum of squared distances from the bucket's mean."""


class Adwin:
    """A window of as many values as have one mean."""

    def __init__(self, delta: float = 0.002, every: int = 32, grace: int = 10) -> None:
        """Cut falsely with probability `delta` a look; look every `every` values after `grace`."""
        if not 0 < delta < 1 or every < 1 or grace < 0:
            raise ValueError("delta must lie between 0 and 1, every be above 0, and grace not below 0")
        self._delta, self._every, self._grace = delta, every, grace
        self._rows: list[deque[_Bucket]] = [deque()]
        self._seen = 0
        self.width = 0
        self._total = 0.0
        self._variance = 0.0

    @property
    def mean(self) -> float:
        """The mean of the window; 0 of none."""
        return self._total / self.width if self.width else 0.0

    @property
    def variance(self) -> float:
        """The variance of the window; 0 of none."""
        return self._variance / self.width if self.width else 0.0

    def observe(self, value: float) -> bool:
        """Add a value; True where the window lost its old part."""
        self._seen += 1
        self._insert(value)
        due = self._seen % self._every == 0 and self.width > self._grace
        return due and self._cut()

    def _insert(self, value: float) -> None:
        self._variance += self.width * (value - self.mean) ** 2 / (self.width + 1)
        self._total += value
        self.width += 1
        self._rows[0].append(_Bucket(value, 0.0))
        self._compress()

    def _compress(self) -> None:
        for level, row in enumerate(self._rows):
            if len(row) <= ROOM:
                return
            first, second, size = row.popleft(), row.popleft(), 1 << level
            gap = (first.total - second.total) / size
            merged = _Bucket(
                first.total + second.total, first.variance + second.variance + gap * gap * size / 2
            )
            if level + 1 == len(self._rows):
                self._rows.append(deque())
            self._rows[level + 1].append(merged)

    def _cut(self) -> bool:
        """Drop the oldest bucket while any split shows two means."""
        cut = False
        while self.width > self._grace and any(map(self._differs, *zip(*self._splits(), strict=True))):
            self._drop()
            cut = True
        return cut

    def _splits(self) -> Iterator[tuple[int, float]]:
        """Yield, from the oldest on, how many values are before a split, and their sum."""
        count, total = 0, 0.0
        for level in range(len(self._rows) - 1, -1, -1):
            for bucket in self._rows[level]:
                count += 1 << level
                total += bucket.total
                yield count, total

    def _differs(self, count: int, total: float) -> bool:
        rest = self.width - count
        if count < PART or rest < PART:
            return False
        gap = abs(total / count - (self._total - total) / rest)
        # One value less a part than equation 3.1 has, PART - 1 in all: as the authors' own program does.
        inverse = 1 / (count - PART + 1) + 1 / (rest - PART + 1)
        confidence = log(2 * log(self.width) / self._delta)
        return gap > sqrt(2 * inverse * self.variance * confidence) + 2 / 3 * inverse * confidence

    def _drop(self) -> None:
        row = self._rows[-1]
        bucket, size = row.popleft(), 1 << (len(self._rows) - 1)
        self.width -= size
        self._total -= bucket.total
        gap = bucket.total / size - self.mean
        self._variance -= bucket.variance + size * self.width * gap * gap / (size + self.width)
        self._variance = max(self._variance, 0.0)
        if not row and len(self._rows) > 1:
            self._rows.pop()
