"""The largest gap between the distributions of two streams.

D = max |F(x) - G(x)|; two streams of one distribution, of n and m values, differ by more than

    sqrt(-ln(alpha / 2) / 2 * (n + m) / (n m))

with probability alpha (Smirnov 1948, in the limit of many values). F and G come from sketches, whose own
error is added to the gap that is allowed.
"""

from __future__ import annotations

from bisect import bisect_right
from math import log, sqrt

from services.monitor.detectors.quantile_sketch import QuantileSketch


def gap(before: QuantileSketch, after: QuantileSketch) -> float:
    """Return the largest difference of the two distribution functions, 0 to 1; both have values."""
    first, below_first = before.steps()
    second, below_second = after.steps()
    return max(
        abs(_share(first, below_first, value) - _share(second, below_second, value))
        for value in {*first, *second}
    )


def allowed(before: int, after: int, alpha: float = 1e-6, error: float = 0.0) -> float:
    """Return what the gap of two samples of these sizes exceeds by chance with probability `alpha`."""
    return sqrt(-log(alpha / 2) / 2 * (before + after) / (before * after)) + error


def _share(values: list[float], shares: list[float], value: float) -> float:
    place = bisect_right(values, value)
    return shares[place - 1] if place else 0.0
