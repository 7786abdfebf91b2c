"""Counts the states of an observation space, for tables; a bounded Box is cut into equal parts."""

from __future__ import annotations

from math import isfinite, prod

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Floats, Ints
from services.rl_policy.algorithms.options import TabularOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.spaces import Box, Dict, Discrete, Space

MAX_STATES = 1 << 20


class States:
    """The states of a space, numbered as mixed radix digits, the first number of a compact row highest."""

    def __init__(self, space: Space, bins: int) -> None:
        digits = _digits(space, bins)
        self.count = prod(count for count, _, _ in digits)
        if self.count > MAX_STATES:
            raise invalid("observation_space", f"must have at most {MAX_STATES} states for a table")
        counts = np.asarray([count for count, _, _ in digits], np.int64)
        self._last = counts - 1
        self._low = np.asarray([low for _, low, _ in digits], np.float32)
        self._scale = np.asarray([scale for _, _, scale in digits], np.float32)
        self._radix = np.concatenate([np.cumprod(counts[:0:-1])[::-1], np.ones(1, np.int64)])

    @classmethod
    def of(cls, plan: Plan) -> States:
        """Return the states of the plan's observations; raises InvalidArgument where no table holds them."""
        bins = plan.options.bins if isinstance(plan.options, TabularOptions) else 1
        return cls(plan.observation, bins)

    @property
    def digits(self) -> tuple[Floats, Floats, Ints, Ints]:
        """Return lowest value, scale, last digit and radix of each number of a compact row."""
        return self._low, self._scale, self._last, self._radix

    def indices(self, observations: Floats) -> Ints:
        """Return the state of each row: (B, size) to (B,)."""
        digits = ((observations - self._low) * self._scale).astype(np.int64)
        numbers: Ints = np.clip(digits, 0, self._last) @ self._radix
        return numbers


def _digits(space: Space, bins: int) -> list[tuple[int, float, float]]:
    """Return for each number of a compact row how many values it has, the lowest, and how many to one."""
    if isinstance(space, Dict):
        return [digit for _, each in space.spaces for digit in _digits(each, bins)]
    if not isinstance(space, Box):
        counts = (space.n,) if isinstance(space, Discrete) else space.nvec
        return [(count, 0.0, 1.0) for count in counts]
    low = np.broadcast_to(np.asarray(space.low), space.size)
    high = np.broadcast_to(np.asarray(space.high), space.size)
    if not all(isfinite(each) for each in (*low, *high)):
        raise invalid("observation_space", "must have finite bounds for a table")
    spans = [max(float(top - bottom), 1e-9) for bottom, top in zip(low, high, strict=True)]
    return [(bins, float(bottom), bins / span) for bottom, span in zip(low, spans, strict=True)]
