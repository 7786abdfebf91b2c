"""The control chart of an exponentially weighted mean.

Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1 (1959):

    e_t = e_{t-1} + rate (z_t - e_{t-1}),    alarm where |e_t| > limit * sqrt(rate / (2 - rate))

z_t the value less the mean, in standard deviations. Mean and deviation are exponentially weighted as well,
ten times as slowly (West, Communications of the ACM 22, 1979), and stand still while an alarm is on.
"""

from __future__ import annotations

from math import sqrt

SLOWER = 10.0
CLIP = 4.0
"""Deviations beyond which a value counts no more: one wild value is no shift."""


class EwmaChart:
    """The chart of one series."""

    def __init__(self, rate: float = 0.1, limit: float = 5.0, warm_up: int = 100) -> None:
        """Alarm beyond `limit` deviations of the weighted mean, after `warm_up` values."""
        if not 0 < rate <= 1 or limit <= 0 or warm_up < 2:
            raise ValueError("rate must be above 0 and at most 1, limit above 0, and warm_up at least 2")
        self._rate, self._warm_up = rate, warm_up
        self._limit = limit * sqrt(rate / (2 - rate))
        self._count = 0
        self.weighted = self.mean = self._variance = 0.0

    def observe(self, value: float) -> bool:
        """Add a value; True as long as the weighted mean is out of its limits."""
        self._count += 1
        if self._count <= self._warm_up:
            self._learn(value, 1.0 / self._count)
            return False
        spread = sqrt(self._variance)
        z = (value - self.mean) / spread if spread > 0 else CLIP * ((value > self.mean) - (value < self.mean))
        self.weighted += self._rate * (min(max(z, -CLIP), CLIP) - self.weighted)
        out = abs(self.weighted) > self._limit
        if not out:
            self._learn(value, self._rate / SLOWER)
        return out

    def _learn(self, value: float, rate: float) -> None:
        distance = value - self.mean
        self.mean += rate * distance
        self._variance = (1 - rate) * (self._variance + rate * distance * distance)
