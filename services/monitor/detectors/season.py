"""What a value differs by from what this hour of the week, or of the day, has been so far.

A table of exponentially weighted means, one a slot of the period: s_k <- s_k + rate (x - s_k), the seasonal
part of Winters ("Forecasting Sales by Exponentially Weighted Moving Averages", Management Science 6, 1960)
without trend.
"""

from __future__ import annotations

DAY, WEEK = 86_400.0, 7 * 86_400.0


class Season:
    """The means of the slots of one period."""

    def __init__(self, period: float = WEEK, slots: int = 168, rate: float = 0.3) -> None:
        """Divide `period` seconds into `slots`; a value moves its slot's mean by `rate` of the difference."""
        if period <= 0 or slots < 1 or not 0 < rate <= 1:
            raise ValueError("period and slots must be above 0, rate above 0 and at most 1")
        self._period, self._rate = period, rate
        self._means: list[float | None] = [None] * slots

    def observe(self, time: float, value: float) -> float | None:
        """Return the value without its season, None where its slot is new; `time` in seconds."""
        slot = int(time % self._period / self._period * len(self._means))
        mean = self._means[slot]
        if mean is None:
            self._means[slot] = value
            return None
        self._means[slot] = mean + self._rate * (value - mean)
        return value - mean
