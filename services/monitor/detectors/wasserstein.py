"""How far a stream's values have moved: the area between two distribution functions.

W1 = integral |F(x) - G(x)| dx, in the unit of the values (Vallender, Theory of Probability 18, 1974): a
shift of all values by d gives d. Over the standard deviation of the reference, 0.1 is a common bound.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from services.monitor.detectors.quantile_sketch import QuantileSketch


def distance(before: QuantileSketch, after: QuantileSketch) -> float:
    """Return W1 between two sketches that have values."""
    first, below_first = before.steps()
    second, below_second = after.steps()
    return sum(
        (high - low) * abs(_share(first, below_first, low) - _share(second, below_second, low))
        for low, high in pairwise(sorted({*first, *second}))
    )


def _share(values: list[float], shares: list[float], value: float) -> float:
    place = bisect_right(values, value)
    return shares[place - 1] if place else 0.0
