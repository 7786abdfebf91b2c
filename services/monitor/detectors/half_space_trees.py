"""Half-space trees: points where few have been before.

Tan, Ting and Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011. Each tree halves a box of its
own, drawn around the unit cube, along dimensions drawn at random, `depth` times. A window of points leaves
its mass in the nodes; a point of the next window scores

    sum over trees of r[node] * 2^level(node)     (algorithm 3)

at the first node of its path with mass r below `least`, or at its leaf. Turned round here: 1 - score /
highest, so that rare is near 1. All trees walk at once, by arrays: node i has the children 2i + 1 and 2i +
2.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class HalfSpaceTrees:
    """An ensemble over values of [0, 1] in each dimension; what lies outside counts as at the edge."""

    def __init__(
        self, dimensions: int, trees: int = 25, depth: int = 8, window: int = 250, seed: int = 0
    ) -> None:
        """Compare with the last full `window` of points."""
        if min(dimensions, trees, depth, window) < 1:
            raise ValueError("dimensions, trees, depth and window must be above 0")
        self._depth, self._window = depth, window
        self._least = 0.1 * window
        numbers = random.Random(seed)  # noqa: S311 - nobody wins by guessing it
        grown = [_grow(dimensions, depth, numbers) for _ in range(trees)]
        self._splits = np.array([splits for splits, _ in grown])
        self._axes = np.array([axes for _, axes in grown])
        self._rows = np.arange(trees)
        self._mass = np.zeros((trees, 2 ** (depth + 1) - 1))
        self._fresh = np.zeros_like(self._mass)
        self._weights = 2.0 ** np.arange(depth + 1)
        self._highest = trees * window * self._weights[-1]
        self._seen = 0

    def observe(self, point: Sequence[float]) -> float:
        """Return how rare the point is, 0 to 1, and 0 in the first window; then learn it."""
        path = self._path(np.clip(np.asarray(point, dtype=np.float64), 0.0, 1.0))
        rarity = self._rarity(path) if self._seen >= self._window else 0.0
        self._fresh[self._rows, path] += 1.0
        self._seen += 1
        if self._seen % self._window == 0:
            self._mass, self._fresh = self._fresh, self._mass
            self._fresh[:] = 0.0
        return rarity

    def _path(self, point: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the nodes that a point passes, [level, tree]."""
        path = np.zeros((self._depth + 1, len(self._rows)), dtype=np.int64)
        for level in range(self._depth):
            node = path[level]
            right = point[self._axes[self._rows, node]] >= self._splits[self._rows, node]
            path[level + 1] = 2 * node + 1 + right
        return path

    def _rarity(self, path: NDArray[np.int64]) -> float:
        mass = self._mass[self._rows, path]
        low = mass < self._least
        low[-1] = True
        level = low.argmax(axis=0)
        score = (mass[level, self._rows] * self._weights[level]).sum()
        return float(1.0 - min(score / self._highest, 1.0))


def _grow(dimensions: int, depth: int, numbers: random.Random) -> tuple[list[float], list[int]]:
    """Return the inner nodes' splits and axes, of a work range drawn as in algorithm 1's text."""
    centres = [numbers.random() for _ in range(dimensions)]
    reach = [2 * max(centre, 1 - centre) for centre in centres]
    boxes = [[(centre - far, centre + far) for centre, far in zip(centres, reach, strict=True)]]
    splits, axes = [], []
    for node in range(2**depth - 1):
        axis = numbers.randrange(dimensions)
        low, high = boxes[node][axis]
        middle = (low + high) / 2
        splits.append(middle)
        axes.append(axis)
        for half in ((low, middle), (middle, high)):
            boxes.append([*boxes[node][:axis], half, *boxes[node][axis + 1 :]])
    return splits, axes
