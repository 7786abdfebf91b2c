"""Half-space trees: points where few have been before.

Tan, Ting and Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011. Each tree halves a box of its own,
drawn around the unit cube, `depth` times along axes drawn at random. A window of points leaves its mass in
the nodes; a point of the next window scores

    sum over trees of mass[node] * 2^level(node)     (algorithm 3)

at the first node of its path with a mass below LEAST of the window, or at its leaf. Turned round here, as
1 - score / highest, so that rare is near 1. The paper draws an axis at every node, this an axis a level of
each tree: then the way through a level is one binary digit of a coordinate, and all trees are walked at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST = 0.1


class HalfSpaceTrees:
    """An ensemble over values of [0, 1] in each dimension; what lies outside counts as at the edge."""

    def __init__(
        self, dimensions: int, trees: int = 25, depth: int = 8, window: int = 250, seed: int = 0
    ) -> None:
        """Compare with the last full `window` of points."""
        if min(dimensions, trees, depth, window) < 1:
            raise ValueError("dimensions, trees, depth and window must be above 0")
        self._window, self._seen = window, 0
        numbers = np.random.default_rng(seed)
        self._axes = numbers.integers(dimensions, size=(trees, depth))
        centres = numbers.random((trees, dimensions))
        reach = 2 * np.maximum(centres, 1 - centres)
        # The n-th halving of an axis looks at the n-th binary digit of the place in the box.
        halvings = [[list(row[: at + 1]).count(axis) for at, axis in enumerate(row)] for row in self._axes]
        self._low = np.take_along_axis(centres - reach, self._axes, axis=1)
        self._scale = 2.0 ** np.array(halvings) / np.take_along_axis(2 * reach, self._axes, axis=1)
        levels = np.arange(depth + 1)
        # Node i has the children 2 i + 1 and 2 i + 2; the nodes of tree k begin at k * nodes.
        self._digits = np.triu(2 ** np.maximum(levels[None, :] - 1 - levels[:depth, None], 0), 1)
        self._first = 2**levels - 1 + np.arange(trees)[:, None] * (2 ** (depth + 1) - 1)
        self._mass = np.zeros(trees * (2 ** (depth + 1) - 1))
        self._fresh = np.zeros_like(self._mass)
        self._rows = np.arange(trees)
        self._weights = 2.0**levels
        self._highest = float(trees * window * self._weights[-1])

    def observe(self, point: Sequence[float]) -> float:
        """Return how rare the point is, 0 to 1, and 0 in the first window; then learn it."""
        path = self._path(np.array([min(max(each, 0.0), 1.0) for each in point]))
        rarity = self._rarity(path) if self._seen >= self._window else 0.0
        self._fresh[path] += 1.0
        self._seen += 1
        if self._seen % self._window == 0:
            self._mass, self._fresh = self._fresh, self._mass
            self._fresh[:] = 0.0
        return rarity

    def _path(self, point: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the nodes that a point passes, [tree, level]."""
        places = (point[self._axes] - self._low) * self._scale
        return np.asarray((places.astype(np.int64) & 1) @ self._digits + self._first)

    def _rarity(self, path: NDArray[np.int64]) -> float:
        mass = self._mass[path]
        low = mass < LEAST * self._window
        low[:, -1] = True
        level = low.argmax(axis=1)
        score = float(mass[self._rows, level] @ self._weights[level])
        return 1.0 - min(score / self._highest, 1.0)
