"""A metric over runs, and how sure its mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Metric:
    """A mean with its 95 % confidence interval."""

    mean: float
    per_seed: tuple[float, ...]
    low: float
    high: float


def metric(per_seed: Sequence[float], within: Sequence[float] = ()) -> Metric:
    """Return the metric of some runs: Student's t over the runs, or over `within` where there is one run.

    `within` are one run's single numbers, such as one a user. One number alone is its own interval.
    """
    mean = float(np.mean(per_seed))
    sample = np.asarray(per_seed if len(per_seed) > 1 else within, np.float64)
    if len(sample) < 2:
        return Metric(mean, tuple(per_seed), mean, mean)
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1) * error)
    return Metric(mean, tuple(per_seed), mean - reach, mean + reach)
