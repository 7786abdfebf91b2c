"""How many threads a step should use: one fewer for a while where neighbours take the cores."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAST_SHARE = 0.75
"""Below this part of its threads' time on the cores, a step does better with one thread less."""

_RETRY_S = 5.0
_WEIGHT = 0.1  # of the newest step in the running share


class Crew:
    """Measures the processor time of steps, as a context around each, and says how many threads to use."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self.threads = most
        self._most, self._clock, self._used = most, clock, used
        self._share, self._retry_at = 1.0, 0.0
        self._began = (0.0, 0.0)

    def __enter__(self) -> None:
        self._began = (self._clock(), self._used())

    def __exit__(self, *_: object) -> None:
        now = self._clock()
        if self.threads < self._most and now >= self._retry_at:
            self.threads, self._share = self.threads + 1, 1.0
            return
        wall, used = now - self._began[0], self._used() - self._began[1]
        if wall <= 0:
            return
        share = min(1.0, used / (wall * self.threads))
        self._share += _WEIGHT * (share - self._share)
        if self._share < _LEAST_SHARE and self.threads > 1:
            self.threads, self._share = self.threads - 1, 1.0
            self._retry_at = now + _RETRY_S
