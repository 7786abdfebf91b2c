"""Random numbers that follow from where they are used: a seed, an episode and a step.

So an action does not depend on what else was asked at the time, nor on the order, and a run can be repeated.
Each number is SplitMix64 of a counter (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.rl_policy.algorithms.algorithm import Doubles, Ints

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def uniforms(seed: int, episodes: Ints, steps: Ints, draws: int) -> Doubles:
    """Return (B, draws) numbers from [0, 1) for the B pairs of an episode and a step."""
    keys = _mixed(_mixed(np.full(1, seed, np.uint64)) ^ episodes.astype(np.uint64))
    keys = _mixed(keys ^ steps.astype(np.uint64))
    counters = keys[:, None] + np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    return (_mixed(counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seeds: Doubles, count: int) -> Doubles:
    """Return (B, count) normal numbers that follow from `seeds` (B,), each from [0, 1); by Box and Muller."""
    keys = (seeds * 2.0**53).astype(np.int64)
    pairs = uniforms(0, keys, np.zeros_like(keys), 2 * count)
    return np.sqrt(-2.0 * np.log1p(-pairs[:, :count])) * np.cos(2.0 * np.pi * pairs[:, count:])


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the finaliser's value of each; whole numbers wrap around, as they must."""
    state = state + _GOLDEN
    state = (state ^ (state >> _SHIFTS[0])) * _MIX[0]
    state = (state ^ (state >> _SHIFTS[1])) * _MIX[1]
    return state ^ (state >> _SHIFTS[2])
