"""The statistics of experiments: intervals of rates, differences of two rates, the sample-ratio check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

from scipy.special import gammaincc

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: intervals are of 95 %."""


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval; all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How a rate differs from another's: treatment minus control, with its 95 % interval."""

    value: float
    low: float
    high: float
    p_value: float
    """The chance of a difference as large where there is none; two-sided."""


def rate(successes: int, trials: int) -> Rate:
    """Return the share and its Wilson score interval (Wilson 1927), which is right for few trials too.

    More successes than trials (an item clicked twice) count as all; no trials: nothing is known, 0 to 1.
    """
    if trials <= 0:
        return Rate(0.0, 0.0, 1.0)
    share = min(successes, trials) / trials
    squared = Z95 * Z95
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    spread = sqrt(share * (1 - share) / trials + squared / (4 * trials * trials))
    margin = Z95 * spread / (1 + squared / trials)
    return Rate(share, max(centre - margin, 0.0), min(centre + margin, 1.0))


def difference(control: tuple[int, int], treatment: tuple[int, int]) -> Difference:
    """Compare (successes, trials) of two samples: a z-test with pooled variance, an unpooled (Wald) interval.

    Without trials on a side nothing is known: -1 to 1, p = 1.
    """
    (k0, n0), (k1, n1) = (_capped(*control), _capped(*treatment))
    if not n0 or not n1:
        return Difference(0.0, -1.0, 1.0, 1.0)
    p0, p1 = k0 / n0, k1 / n1
    pooled = (k0 + k1) / (n0 + n1)
    under_null = sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1))
    p_value = erfc(abs(p1 - p0) / under_null / sqrt(2)) if under_null else 1.0
    margin = Z95 * sqrt(p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1)
    return Difference(p1 - p0, p1 - p0 - margin, p1 - p0 + margin, p_value)


def sample_ratio_p(observed: Sequence[int], weights: Sequence[float]) -> float:
    """Return the p-value of Pearson's chi-squared test that units were assigned in proportion to `weights`.

    Below 0.001 the assignment or the counting is broken, and rates cannot be compared (Fabijan et al., KDD
    2019). Variants of weight 0 are left out; 1.0 where there is nothing to test.
    """
    pairs = [(count, weight) for count, weight in zip(observed, weights, strict=True) if weight > 0]
    total, weight_sum = sum(count for count, _ in pairs), sum(weight for _, weight in pairs)
    if len(pairs) < 2 or not total:
        return 1.0
    expected = [total * weight / weight_sum for _, weight in pairs]
    statistic = sum((count - mean) ** 2 / mean for (count, _), mean in zip(pairs, expected, strict=True))
    return float(gammaincc((len(pairs) - 1) / 2, statistic / 2))


def _capped(successes: int, trials: int) -> tuple[int, int]:
    return min(successes, max(trials, 0)), max(trials, 0)
