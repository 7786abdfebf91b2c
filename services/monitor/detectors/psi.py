"""The population stability index: how differently two streams fill the same bins.

    PSI = sum over bins (q_i - p_i) ln(q_i / p_i)

(Kullback's J-divergence, 1959). Without a change PSI / (1/n + 1/m) is distributed as chi-squared with one
degree less than there are bins (Yurdakul, "Statistical Properties of Population Stability Index", 2018), so a
limit follows from the sizes; the customary 0.1 and 0.25 cry wolf in small windows and sleep in large ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log, sqrt
from statistics import NormalDist


class Bins:
    """Counts by bin; bin i has the values in (edges[i-1], edges[i]], the last one the rest."""

    def __init__(self, edges: Sequence[float]) -> None:
        """Take edges in order; equal ones are one."""
        self._edges = sorted(set(edges))
        self.counts = [0] * (len(self._edges) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._edges, value)] += 1


def psi(before: Sequence[int], after: Sequence[int]) -> float:
    """Return the index of two counts over the same bins, each of which has half a value besides its own."""
    n, m = sum(before) + len(before) / 2, sum(after) + len(after) / 2
    shares = [((p + 0.5) / n, (q + 0.5) / m) for p, q in zip(before, after, strict=True)]
    return sum((q - p) * log(q / p) for p, q in shares)


def allowed(bins: int, before: int, after: int, alpha: float = 1e-6) -> float:
    """Return what the index exceeds by chance with probability `alpha`; `before` and `after` count values.

    The quantile of chi-squared is that of Wilson and Hilferty (1931).
    """
    degrees = bins - 1
    z, width = NormalDist().inv_cdf(1 - alpha), 2 / (9 * degrees)
    return (1 / before + 1 / after) * degrees * (1 - width + z * sqrt(width)) ** 3
