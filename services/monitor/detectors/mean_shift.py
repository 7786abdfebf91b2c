"""A shift of the mean, small or large, of values whose mean and spread are not known beforehand.

Two tests of Page (1954) side by side over standardised values z_t = (x_t - m) / s: one with a slack of 0.125
deviations for small shifts, one with 0.5 for large ones (a test is best for shifts of twice its slack). By
Siegmund ("Sequential Analysis", 1985, 2.53) a one-sided test without change runs

    (exp(2 k b) - 2 k b - 1) / (2 k^2) points in the mean until its alarm,   b = limit + 1.166,

40 million for k = 0.125 and limit 55, and 57 million for k = 0.5 and limit 16; after a shift of d
deviations it takes about b / (d - k): 449 points for a quarter and 34 for one. m and s are learned over
`warm_up` points in which nothing is heard, and on as long as all is quiet, by the recursions of Welford
(1962): that m is known to 1 / sqrt(warm_up) only is why the limits are above what Siegmund's formula asks
for.
"""

from __future__ import annotations

from math import sqrt

SMALL = (0.125, 55.0)
LARGE = (0.5, 16.0)
"""Slack and limit of each test, in deviations."""
CLIP = 4.0
"""Deviations beyond which a value counts no more: one wild value is no shift."""


class MeanShift:
    """Tells of shifts of a quarter of a deviation and more."""

    _small_up: float
    _small_down: float
    _large_up: float
    _large_down: float

    def __init__(self, warm_up: int = 2_000) -> None:
        if warm_up < 2:
            raise ValueError("a spread is not known from fewer than 2 values")
        self._warm_up = warm_up
        self._begin()

    @property
    def spread(self) -> float:
        """The standard deviation of what was seen since the last shift."""
        return sqrt(self._squares / (self._count - 1)) if self._count > 1 else 0.0

    def observe(self, value: float) -> bool:
        """Add a value; True where the mean has shifted, after which it learns anew."""
        shifted = self._count >= self._warm_up and self._test(value)
        if shifted:
            self._begin()
        self._count += 1
        distance = value - self.mean
        self.mean += distance / self._count
        self._squares += distance * (value - self.mean)
        return shifted

    def _test(self, value: float) -> bool:
        spread = self.spread
        if spread <= 0.0:
            return value != self.mean
        z = min(max((value - self.mean) / spread, -CLIP), CLIP)
        self._small_up = max(0.0, self._small_up + z - SMALL[0])
        self._small_down = max(0.0, self._small_down - z - SMALL[0])
        self._large_up = max(0.0, self._large_up + z - LARGE[0])
        self._large_down = max(0.0, self._large_down - z - LARGE[0])
        small = max(self._small_up, self._small_down) > SMALL[1]
        return small or max(self._large_up, self._large_down) > LARGE[1]

    def _begin(self) -> None:
        self._count = 0
        self.mean = self._squares = 0.0
        self._small_up = self._small_down = self._large_up = self._large_down = 0.0
