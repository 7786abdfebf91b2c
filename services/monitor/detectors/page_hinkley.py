"""The Page-Hinkley test: evidence that the mean has moved adds up until it is enough.

Page, "Continuous Inspection Schemes", Biometrika 41 (1954); with the mean learned as it goes, Hinkley,
Biometrika 58 (1971):

    up_t   = max(0, up_{t-1}   + (x_t - m_t) - slack)
    down_t = max(0, down_{t-1} - (x_t - m_t) - slack)        alarm where either exceeds `limit`,

m_t the mean of all values since the last alarm, x_t among them.
"""

from __future__ import annotations


class PageHinkley:
    """The two-sided test. `slack` and `limit` have the unit of the values."""

    _up: float
    _down: float

    def __init__(self, slack: float = 0.005, limit: float = 50.0, grace: int = 30) -> None:
        """Hear no alarm in the first `grace` values."""
        if slack < 0 or limit <= 0 or grace < 0:
            raise ValueError("slack and grace must not be below 0, and limit be above 0")
        self._slack, self._limit, self._grace = slack, limit, grace
        self._begin()

    def observe(self, value: float) -> bool:
        """Add a value; True where the mean has moved, after which it begins anew."""
        self._count += 1
        self.mean += (value - self.mean) / self._count
        distance = value - self.mean
        self._up = max(0.0, self._up + distance - self._slack)
        self._down = max(0.0, self._down - distance - self._slack)
        moved = self._count >= self._grace and max(self._up, self._down) > self._limit
        if moved:
            self._begin()
        return moved

    def _begin(self) -> None:
        self._count = 0
        self.mean = 0.0
        self._up = self._down = 0.0
