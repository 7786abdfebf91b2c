"""Many streams at once through the arithmetic of `services/monitor/detectors/mean_shift.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.monitor.detectors.mean_shift import CLIP, LARGE, SMALL

Floats = NDArray[np.float64]
BLOCK = 1_000


class MeanShifts:
    """As many `MeanShift` as there are streams, point by point, by arrays."""

    def __init__(self, streams: int, warm_up: int = 2_000) -> None:
        self._warm_up = warm_up
        self._count, self._mean, self._squares = (np.zeros(streams) for _ in range(3))
        self._sums = np.zeros((4, streams))
        """Small up and down, large up and down."""
        self._slacks = np.array([SMALL[0], SMALL[0], LARGE[0], LARGE[0]])[:, None]
        self._limits = np.array([SMALL[1], SMALL[1], LARGE[1], LARGE[1]])[:, None]
        self._signs = np.array([1.0, -1.0, 1.0, -1.0])[:, None]

    def observe(self, values: Floats) -> NDArray[np.bool_]:
        """Add a value to each stream; True where its mean has shifted."""
        warm = self._count >= self._warm_up
        spread = np.sqrt(self._squares / np.maximum(self._count - 1, 1))
        z = np.clip((values - self._mean) / np.where(spread > 0, spread, 1.0), -CLIP, CLIP)
        self._sums += self._signs * z - self._slacks
        np.maximum(self._sums, 0.0, out=self._sums)
        self._sums *= warm
        shifted = (self._sums > self._limits).any(axis=0)
        if shifted.any():
            for state in (self._count, self._mean, self._squares):
                state[shifted] = 0.0
            self._sums[:, shifted] = 0.0
        self._count += 1
        distance = values - self._mean
        self._mean += distance / self._count
        self._squares += distance * (values - self._mean)
        return np.asarray(shifted)


def false_alarms(streams: int, length: int, seed: int = 1) -> int:
    """Return the alarms over `streams` * `length` points of a normal distribution that never changes."""
    detector = MeanShifts(streams)
    return sum(int(detector.observe(values).sum()) for values in _normal(streams, length, seed))


def delays(shift: float, streams: int, before: int = 10_000, most: int = 5_000, seed: int = 1) -> Floats:
    """Return after how many points each stream's shift by so many deviations was found, inf after `most`.

    Streams that alarmed before their shift are left out.
    """
    detector = MeanShifts(streams)
    early = np.zeros(streams, dtype=bool)
    found = np.full(streams, np.inf)
    for at, values in enumerate(_normal(streams, before + most, seed)):
        if at < before:
            early |= detector.observe(values)
        else:
            shifted = detector.observe(values + shift)
            found = np.where(shifted & np.isinf(found), at - before + 1, found)
    return np.asarray(found[~early])


def _normal(streams: int, length: int, seed: int) -> Iterator[Any]:
    numbers = np.random.default_rng(seed)
    for start in range(0, length, BLOCK):
        yield from numbers.standard_normal((min(BLOCK, length - start), streams))
