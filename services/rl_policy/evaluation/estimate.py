"""Estimates, their intervals, and how much evidence they stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from services.kit.errors import FailedPrecondition, Reason
from services.rl_policy.algorithms.algorithm import Doubles

RESAMPLES = 200
"""Bootstrap resamples; the ends of a 95 % interval stand on the five outermost on each side."""


@dataclass(frozen=True)
class Estimate:
    """The value of a policy: its mean return, and how sure that is."""

    mean: float
    low: float
    high: float
    episodes: int
    effective: float
    """How many episodes of the policy's own these are worth."""
    deviation: float | None = None
    """Of the returns, where they are known."""
    warnings: tuple[str, ...] = ()


def of_returns(returns: Doubles, confidence: float) -> Estimate:
    """Return the mean of returns that were earned; raises FailedPrecondition for fewer than two."""
    require("episodes", float(len(returns)), 2)
    low, high = interval(returns, confidence)
    deviation = float(returns.std(ddof=1))
    return Estimate(float(returns.mean()), low, high, len(returns), float(len(returns)), deviation)


def interval(values: Doubles, confidence: float, effective: float | None = None) -> tuple[float, float]:
    """Return the interval of the mean of independent `values`, by Student's t of `effective` - 1 degrees."""
    freedom = max((len(values) if effective is None else effective) - 1, 1.0)
    reach = quantile_of_t(0.5 + confidence / 2, freedom) * float(values.std(ddof=1)) / sqrt(len(values))
    mean = float(values.mean())
    return mean - reach, mean + reach


def quantile_of_t(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t: Abramowitz and Stegun 26.7.5, within 1 % from 4 degrees on."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def percentiles(resampled: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the interval that holds `confidence` of the resampled estimates."""
    low, high = np.quantile(resampled, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def effective_size(weights: Doubles) -> float:
    """Return Kish's effective sample size of weights of 0 or more: (sum w)² / sum w²; 0 where all are 0."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def require(estimator: str, effective: float, needed: float) -> None:
    """Pass, or raise FailedPrecondition (EVIDENCE_TOO_THIN)."""
    if effective >= needed:
        return
    figures = {"effective": f"{effective:.4g}", "needed": f"{needed:g}", "estimator": estimator}
    message = f"the log is worth {effective:.4g} episodes to {estimator}, and {needed:g} are needed"
    raise FailedPrecondition(Reason.EVIDENCE_TOO_THIN, message, metadata=figures)


def ranked(estimates: Sequence[Estimate]) -> tuple[list[int], bool]:
    """Return the indices, best mean first, and whether the first one's interval lies above the second's."""
    order = sorted(range(len(estimates)), key=lambda index: -estimates[index].mean)
    separated = len(order) > 1 and estimates[order[0]].low > estimates[order[1]].high
    return order, separated
