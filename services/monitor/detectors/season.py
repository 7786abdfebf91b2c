"""What a value differs by from what this hour of the week has been so far, and from how far it usually is.

Tables of exponentially weighted means, one number a slot of a period: s_k <- s_k + rate (x - s_k), the
seasonal part of Winters ("Forecasting Sales by Exponentially Weighted Moving Averages", Management Science 6,
1960) without trend. A slot that several values fall into follows them, so that it forecasts its next value
from the last ones and forgets them only at the slot's end. One table holds the values themselves by the hour
of the week; the other the sizes of what they differ by, by the hour of the day, for night is often quieter
than noon (a seasonal form of the mean absolute deviation of Trigg, Operational Research Quarterly 15, 1964).
"""

from __future__ import annotations

from math import copysign

DAY, WEEK = 86_400.0, 7 * 86_400.0
SLOW = 0.001
"""The rate of the size over all hours, from which a new hour begins."""
BEYOND = 10.0
"""What a difference is in an hour that never had any."""


class Season:
    """The means of the slots of one period."""

    def __init__(self, period: float = WEEK, slots: int = 168, rate: float = 0.4) -> None:
        """Divide `period` seconds into `slots`; a value moves its slot's mean by `rate` of the difference."""
        if period <= 0 or slots < 1 or not 0 < rate <= 1:
            raise ValueError("period and slots must be above 0, rate above 0 and at most 1")
        self._period, self._rate = period, rate
        self._means: list[float | None] = [None] * slots

    def observe(self, time: float, value: float) -> float | None:
        """Return the value less its slot's mean, None where its slot is new; `time` in seconds."""
        slot = int(time % self._period / self._period * len(self._means))
        mean = self._means[slot]
        if mean is None:
            self._means[slot] = value
            return None
        self._means[slot] = mean + self._rate * (value - mean)
        return value - mean


class SeasonalScale:
    """The mean sizes of differences in the slots of one period."""

    def __init__(self, period: float = DAY, slots: int = 24, rate: float = 0.03) -> None:
        """As for Season."""
        if period <= 0 or slots < 1 or not 0 < rate <= 1:
            raise ValueError("period and slots must be above 0, rate above 0 and at most 1")
        self._period, self._rate = period, rate
        self._sizes: list[float | None] = [None] * slots
        self._overall: float | None = None

    def observe(self, time: float, difference: float) -> float:
        """Return the difference over the mean size of those before it in its slot, or in all."""
        size = abs(difference)
        overall = size if self._overall is None else self._overall
        slot = int(time % self._period / self._period * len(self._sizes))
        known = self._sizes[slot]
        usual = overall if known is None else known
        self._sizes[slot] = overall if known is None else known + self._rate * (size - known)
        self._overall = overall + SLOW * (size - overall)
        if usual > 0:
            return difference / usual
        return copysign(BEYOND, difference) if difference else 0.0
