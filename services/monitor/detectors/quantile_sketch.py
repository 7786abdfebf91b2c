"""A stream's distribution in bounded memory.

Karnin, Lang and Liberty, "Optimal Quantile Approximation in Streams", FOCS 2016 (KLL): a stack of
compactors, those of height h holding values of weight 2^h. A full one sorts its values, keeps every other
one, odd or even by a coin, and hands them up. Compactors below the top may hold SHRINK^(top - h) of `size`
values each. Ranks err by about 1.7 / size of the count (99 % of the time, by the authors' own
DataSketches).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

SHRINK = 2 / 3
LEAST = 8
"""What a compactor may always hold."""


class QuantileSketch:
    """Counts values by rank; NaN has none and is refused."""

    def __init__(self, size: int = 400, seed: int = 0) -> None:
        """Hold at most about 3 * `size` values; the same seed and stream give the same sketch."""
        if size < LEAST:
            raise ValueError(f"size must be at least {LEAST}")
        self._size = size
        self._coin = random.Random(seed)  # noqa: S311 - nobody wins by guessing it
        self._levels: list[list[float]] = [[]]
        self._held = 0
        self._room = size
        self.count = 0

    def observe(self, value: float) -> None:
        """Count a value."""
        if value != value:  # noqa: PLR0124 - only NaN differs from itself
            raise ValueError("NaN has no rank")
        self._levels[0].append(value)
        self.count += 1
        self._held += 1
        if self._held >= self._room:
            self._compress()

    def absorb(self, values: Iterable[float]) -> QuantileSketch:
        """Count all of them, and return the sketch."""
        for value in values:
            self.observe(value)
        return self

    def steps(self) -> tuple[list[float], list[float]]:
        """Return the distribution function: values in order, and the share that is at most each."""
        weighted = sorted(
            (value, 1 << height) for height, level in enumerate(self._levels) for value in level
        )
        total = sum(weight for _, weight in weighted)
        shares = [below / total for below in accumulate(weight for _, weight in weighted)]
        return [value for value, _ in weighted], shares

    def quantile(self, share: float) -> float:
        """Return the least value that `share` (0 to 1) of all do not exceed; raises ValueError of none."""
        if not self.count:
            raise ValueError("nothing was counted")
        values, shares = self.steps()
        return values[min(bisect_right(shares, share - 1e-12), len(values) - 1)]

    def _compress(self) -> None:
        for height, level in enumerate(self._levels):
            if len(level) >= self._capacity(height):
                self._hand_up(height)
                return

    def _hand_up(self, height: int) -> None:
        if height + 1 == len(self._levels):
            self._levels.append([])
            self._room = sum(self._capacity(each) for each in range(len(self._levels)))
        level = sorted(self._levels[height])
        odd = [level.pop(-self._coin.randrange(2))] if len(level) % 2 else []  # no weight is lost
        self._levels[height + 1].extend(level[self._coin.randrange(2) :: 2])
        self._levels[height] = odd
        self._held -= len(level) // 2

    def _capacity(self, height: int) -> int:
        return max(LEAST, int(self._size * SHRINK ** (len(self._levels) - 1 - height)))
