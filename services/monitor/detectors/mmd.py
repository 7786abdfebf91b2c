"""Drift of vectors: the maximum mean discrepancy, on a sketch of random features.

    f(x) = sqrt(2 / D) cos(W x + b),  W ~ N(0, 1/width^2), b ~ U(0, 2 pi);   MMD^2 = |mean f(X) - mean f(Y)|^2

(Rahimi and Recht, NIPS 2007; Gretton et al., JMLR 13, 2012): two means of D numbers stand for two streams of
vectors. Without a change MMD^2 / (1/n + 1/m) is a sum of squares of normal variables whose variances are the
eigenvalues of the covariance C of f(X): mean tr(C), variance 2 tr(C^2), skewed, which a scaled chi-squared
with the same two moments follows (Satterthwaite, Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class RandomFeatures:
    """The features of one kernel: a Gaussian of `width`, in the unit of the vectors."""

    def __init__(self, dimension: int, width: float, features: int = 128, seed: int = 0) -> None:
        if dimension < 1 or width <= 0 or features < 1:
            raise ValueError("dimension, width and features must be above 0")
        numbers = np.random.default_rng(seed)
        self._weights = numbers.standard_normal((dimension, features)) / width
        self._phases = numbers.uniform(0.0, 2 * pi, features)
        self.count = features

    def of(self, vectors: Floats) -> Floats:
        """Return the features of vectors [n, dimension]: [n, features]."""
        return np.asarray(sqrt(2 / self.count) * np.cos(vectors @ self._weights + self._phases))


class MeanSketch:
    """The mean of a stream's features, and their covariance."""

    def __init__(self, features: RandomFeatures) -> None:
        self._features = features
        self.count = 0
        self._sum = np.zeros(features.count)
        self._products = np.zeros((features.count, features.count))

    def observe(self, vectors: Floats) -> None:
        """Add vectors [n, dimension], none of them NaN or infinite."""
        if not np.isfinite(vectors).all():
            raise ValueError("vectors must be finite")
        found = self._features.of(vectors)
        self.count += len(found)
        self._sum += found.sum(axis=0)
        self._products += found.T @ found

    @property
    def mean(self) -> Floats:
        """The mean of the features."""
        return np.asarray(self._sum / self.count)

    def discrepancy(self, other: MeanSketch) -> float:
        """Return MMD^2 to another stream's sketch over the same features."""
        apart = self.mean - other.mean
        return float(apart @ apart)

    def allowed(self, other: int, alpha: float = 1e-6) -> float:
        """Return what MMD^2 to `other` vectors of this distribution exceeds with probability `alpha`."""
        covariance = self._products / self.count - np.outer(self.mean, self.mean)
        trace, squares = float(np.trace(covariance)), float((covariance * covariance).sum())
        degrees = trace * trace / squares
        width = 2 / (9 * degrees)
        z = NormalDist().inv_cdf(1 - alpha)
        return (1 / self.count + 1 / other) * trace * (1 - width + z * sqrt(width)) ** 3


def median_width(vectors: Sequence[Sequence[float]] | Floats) -> float:
    """Return the median distance of a few vectors [n, dimension], the customary width of the kernel."""
    points = np.asarray(vectors, dtype=np.float64)
    squares = (points * points).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2 * points @ points.T
    return float(np.sqrt(np.median(np.maximum(apart[np.triu_indices(len(points), 1)], 0.0))))
