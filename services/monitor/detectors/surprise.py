"""How surprising a value of a metric is, seen by four pairs of eyes.

1. The last NEAR values, and 2. the last FAR ones: how far from the most similar stretch before them;
3. the difference from this hour of the week so far, over its usual size at this hour of the day;
4. the mean of the last LEVEL values.

Each is a number whose rarity is told by its own past (`tail.py`), without assuming a distribution. The
rarities -log10 p are added up, as Fisher combines tests ("Statistical Methods for Research Workers", 1932,
section 21.1): many small surprises at once are a large one. The eyes are not independent, so the sum is no
probability; the seasonal difference and the level, which partly see the same, weigh less. Only news counts:
what does not exceed every surprise of the last QUIET points by NEWS belongs to the same incident.
"""

from __future__ import annotations

from collections import deque
from math import log10

from services.monitor.detectors.neighbours import Neighbours
from services.monitor.detectors.season import Season, SeasonalScale
from services.monitor.detectors.tail import Tail

NEAR, FAR = 3, 48
LEVEL = 50
KEEP = 3_000
"""How many points back a stretch is compared with: ten days of five minutes."""
REMEMBER = 12_000
"""How many values a rarity is told by."""
WARM_UP = 100
PARTIAL = 0.8
"""The weight of the seasonal difference and of the level."""
QUIET = 150
NEWS = 0.5
"""Half a power of ten."""
_TWO_SIDES = log10(2)


class Surprise:
    """One series, point by point; takes up to 2.5 MB."""

    def __init__(self) -> None:
        self._neighbours = Neighbours((NEAR, FAR), KEEP)
        self._season, self._scale = Season(), SeasonalScale()
        self._level = _Level()
        self._near, self._far, self._differences, self._levels = (Tail(REMEMBER, WARM_UP) for _ in range(4))
        self._news = _News()

    def observe(self, time: float, value: float) -> float:
        """Return the score of a finite value at `time` (Unix seconds).

        0 is nothing new; above about 5.5 is rare, 10 plain to see.
        """
        near, far = self._neighbours.observe(value)
        difference = self._season.observe(time, value)
        scaled = None if difference is None else self._scale.observe(time, difference)
        partial = _two_sided(self._differences, scaled) + _two_sided(self._levels, self._level.observe(value))
        return self._news.observe(
            _one_sided(self._near, near) + _one_sided(self._far, far) + PARTIAL * partial
        )


class _Level:
    """The mean of the last LEVEL values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=LEVEL)

    def observe(self, value: float) -> float:
        self._values.append(value)
        return sum(self._values) / len(
            self._values
        )  # anew: a running sum would keep the error of a huge value


class _News:
    """Lets through what exceeds all of the last QUIET scores by NEWS."""

    def __init__(self) -> None:
        self._peaks: deque[tuple[int, float]] = deque()
        """Scores that none after them exceeds, with their places: the highest is first."""
        self._at = 0

    def observe(self, score: float) -> float:
        self._at += 1
        while self._peaks and self._peaks[0][0] < self._at - QUIET:
            self._peaks.popleft()
        fresh = score > (self._peaks[0][1] if self._peaks else 0.0) + NEWS
        while self._peaks and self._peaks[-1][1] <= score:
            self._peaks.pop()
        self._peaks.append((self._at, score))
        return score if fresh else 0.0


def _one_sided(tail: Tail, value: float | None) -> float:
    return 0.0 if value is None else tail.observe(value)[0]


def _two_sided(tail: Tail, value: float | None) -> float:
    return 0.0 if value is None else max(*tail.observe(value), _TWO_SIDES) - _TWO_SIDES
