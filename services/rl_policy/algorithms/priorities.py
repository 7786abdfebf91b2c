"""Rows drawn in proportion to their priority (Schaul et al.: Prioritized Experience Replay, 2016).

P(i) = p_i^alpha / sum of p^alpha; a drawn row's error weighs (N P(i))^-beta, divided by the batch's largest
weight. The sums are a binary tree over the rows, so that a draw and a change take log2(capacity) steps.
"""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles, Ints

SMALLEST = 1e-6
"""Added to each error, so that no row becomes impossible."""


class Priorities:
    """The powers p^alpha of `capacity` rows; a new row gets the highest priority that there was."""

    def __init__(self, capacity: int, alpha: float) -> None:
        self._leaves = 1 << (capacity - 1).bit_length()
        self._capacity = capacity
        self._alpha = alpha
        self._tree = np.zeros(2 * self._leaves)
        self._highest = 1.0

    def add(self, rows: Ints) -> None:
        """Give new rows the highest priority."""
        self._put(rows, np.full(len(rows), self._highest**self._alpha))

    def update(self, rows: Ints, errors: Doubles) -> None:
        """Set priorities to the sizes of the errors."""
        priorities = np.abs(errors) + SMALLEST
        self._highest = max(self._highest, float(priorities.max()))
        self._put(rows, priorities**self._alpha)

    def draw(self, uniforms: Doubles) -> Ints:
        """Return a row for each of `uniforms`: one from each of as many equal parts of the whole sum."""
        parts = (np.arange(len(uniforms)) + uniforms) / len(uniforms) * self._tree[1]
        places = np.ones(len(uniforms), np.int64)
        while places[0] < self._leaves:
            left = 2 * places
            right = (parts >= self._tree[left]) & (self._tree[left + 1] > 0)
            parts = np.where(right, parts - self._tree[left], parts)
            places = left + right
        return places - self._leaves

    def weights(self, rows: Ints, count: int, beta: float) -> Doubles:
        """Return how much each row's error counts, `count` being how many rows there are to draw from."""
        odds = self._tree[self._leaves + rows] / self._tree[1]
        weights: Doubles = (count * odds) ** -beta
        scaled: Doubles = weights / weights.max()
        return scaled

    def state(self) -> Doubles:
        """Return the rows' powers, and the highest priority at the end."""
        return np.append(self._tree[self._leaves : self._leaves + self._capacity], self._highest)

    def restore(self, state: Doubles) -> None:
        """Become the one that `state` was taken from."""
        self._tree[:] = 0.0
        self._put(np.arange(self._capacity), state[:-1])
        self._highest = float(state[-1])

    def _put(self, rows: Ints, powers: Doubles) -> None:
        places = self._leaves + rows
        self._tree[places] = powers
        while places[0] > 1:
            places = np.unique(places // 2)
            self._tree[places] = self._tree[2 * places] + self._tree[2 * places + 1]
