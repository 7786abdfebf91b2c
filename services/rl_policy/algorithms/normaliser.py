"""Keeps the mean and variance of a stream, and scales by them.

Batches are merged as Chan, Golub and LeVeque do (Algorithms for Computing the Sample Variance, 1983).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.rl_policy.algorithms.algorithm import Array, Doubles, Floats

CLIP = 10.0
_SMALLEST = 1e-8


class Normaliser:
    """Immutable: `updated` returns the next one; a version's weights hold the one they were learned with."""

    def __init__(self, mean: Doubles, variance: Doubles, count: float) -> None:
        self.mean = mean
        self.variance = variance
        self.count = count
        self._shift = mean.astype(np.float32)
        self._scale = (1.0 / np.sqrt(variance + _SMALLEST)).astype(np.float32)

    @classmethod
    def fresh(cls, size: int) -> Normaliser:
        """Return the one that has seen nothing and changes nothing."""
        return cls(np.zeros(size), np.ones(size), 0.0)

    @classmethod
    def of(cls, weights: Mapping[str, Array], name: str) -> Normaliser:
        """Return the one saved under `name`."""
        return cls(weights[f"{name}.mean"], weights[f"{name}.variance"], float(weights[f"{name}.count"][0]))

    @property
    def factors(self) -> tuple[Floats, Floats]:
        """Return what is subtracted from a row, and what it is multiplied with then."""
        return self._shift, self._scale

    def updated(self, rows: Array) -> Normaliser:
        """Return the one that has also seen `rows` (B, size)."""
        if not len(rows):
            return self
        mean, variance = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
        total = self.count + len(rows)
        delta = mean - self.mean
        squares = (
            self.variance * self.count + variance * len(rows) + delta**2 * self.count * len(rows) / total
        )
        return Normaliser(self.mean + delta * len(rows) / total, squares / total, total)

    def __call__(self, rows: Floats) -> Floats:
        """Return rows scaled to mean 0 and variance 1, within ±CLIP."""
        scaled: Floats = np.clip((rows - self._shift) * self._scale, -CLIP, CLIP)
        return scaled

    def weights(self, name: str) -> dict[str, Array]:
        """Return what `of` makes the same one of."""
        count = np.asarray([self.count])
        return {f"{name}.mean": self.mean, f"{name}.variance": self.variance, f"{name}.count": count}
