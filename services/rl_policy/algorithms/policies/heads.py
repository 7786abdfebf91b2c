"""From a network's outputs to actions: categories for discrete spaces, a squashed Gaussian for a Box."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms import choice
from services.rl_policy.algorithms.algorithm import Array, Bools, Doubles, Floats, Ints, Mode
from services.rl_policy.spaces import Box, Dict, Discrete, MultiDiscrete, Space

EDGE = 1.0 - 1e-6
"""How near to its bound a squashed action gets: beyond, float32 cannot tell it from the bound."""


class Head(Protocol):
    """Chooses actions from the outputs of a network, (B, outputs)."""

    outputs: int
    draws: int

    def act(self, outputs: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> tuple[Floats, Doubles]:
        """Return actions (B, width) and their propensities (B,)."""

    def distribution(self, outputs: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return (B, choices) probabilities, (B, 0) for a Box."""


def head_of(space: Space) -> Head:
    """Return the head of an action space; raises InvalidArgument for a Dict of both kinds."""
    parts = [each for _, each in space.spaces] if isinstance(space, Dict) else [space]
    if all(isinstance(each, Box) for each in parts):
        boxes = [each for each in parts if isinstance(each, Box)]
        low = np.concatenate([np.broadcast_to(np.asarray(each.low), each.size) for each in boxes])
        high = np.concatenate([np.broadcast_to(np.asarray(each.high), each.size) for each in boxes])
        return GaussianHead(low, high)
    return CategoricalHead(counts_of(space))


def counts_of(space: Space) -> tuple[int, ...]:
    """Return how many choices each number of a discrete action has; raises InvalidArgument for a Box."""
    if isinstance(space, Discrete):
        return (space.n,)
    if isinstance(space, MultiDiscrete):
        return space.nvec
    if isinstance(space, Dict):
        return tuple(count for _, each in space.spaces for count in counts_of(each))
    raise invalid("action_space", "must be all discrete or all boxes for this algorithm")


def count_of(space: Space) -> int:
    """Return n of a Discrete action space; raises InvalidArgument for any other."""
    if not isinstance(space, Discrete):
        raise invalid("action_space", "must be discrete for this algorithm")
    return space.n


class CategoricalHead:
    """One softmax for each discrete number of an action, over what its mask allows."""

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.outputs = sum(counts)
        self.draws = len(counts)
        ends = np.cumsum(counts)
        self._parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def act(self, outputs: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> tuple[Floats, Doubles]:
        """Return actions (B, parts) and the product of their parts' probabilities."""
        odds = self.distribution(outputs, masks, mode)
        actions = np.empty((len(outputs), self.draws), np.float32)
        propensities = np.ones(len(outputs))
        for index, part in enumerate(self._parts):
            chosen: Ints = choice.drawn(odds[:, part], uniforms[:, index])
            actions[:, index] = chosen
            propensities *= choice.of_rows(odds[:, part], chosen)
        return actions, propensities

    def distribution(self, outputs: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return the probabilities of each part, side by side."""
        odds = np.empty(outputs.shape)
        for part in self._parts:
            if mode is Mode.GREEDY:
                best = choice.greedy(outputs[:, part], masks[:, part])
                odds[:, part] = choice.one_hot(best, part.stop - part.start)
            else:
                odds[:, part] = choice.softmax(outputs[:, part], masks[:, part])
        return odds


class GaussianHead:
    """A diagonal Gaussian; where both bounds are finite, tanh squashes it between them.

    The outputs are the means, then the logarithms of the deviations. Greedy takes the mean, propensity 1.
    """

    def __init__(self, low: Array, high: Array) -> None:
        self.outputs = 2 * len(low)
        self.draws = 2 * len(low)
        self.bounded = np.isfinite(low) & np.isfinite(high)
        self.centre = np.where(
            self.bounded, (np.where(self.bounded, low, 0) + np.where(self.bounded, high, 0)) / 2, 0
        )
        self.reach = np.where(self.bounded, np.where(self.bounded, high - self.centre, 1.0), 1.0)
        self._low, self._high = low.astype(np.float32), high.astype(np.float32)

    def act(
        self,
        outputs: Floats,
        masks: Bools,  # noqa: ARG002 - a Box has none
        mode: Mode,
        uniforms: Doubles,
    ) -> tuple[Floats, Doubles]:
        """Return actions (B, dimensions) and their densities; Box and Muller make normals of uniforms."""
        size = self.draws // 2
        mean, deviation = outputs[:, :size].astype(np.float64), np.exp(outputs[:, size:].astype(np.float64))
        if mode is Mode.GREEDY:
            return self._placed(mean), np.ones(len(outputs))
        radius = np.sqrt(-2.0 * np.log1p(-uniforms[:, :size]))
        normals = radius * np.cos(2.0 * np.pi * uniforms[:, size:])
        raw = mean + deviation * normals
        density = np.exp(-0.5 * normals**2) / (np.sqrt(2.0 * np.pi) * deviation) / self.stretch(raw)
        return self._placed(raw), density.cumprod(axis=1)[:, -1]

    def distribution(self, outputs: Floats, masks: Bools, mode: Mode) -> Doubles:  # noqa: ARG002
        """Return (B, 0): there are no choices to name."""
        return np.empty((len(outputs), 0))

    def stretch(self, raw: Doubles) -> Doubles:
        """Return by how much squashing stretches the neighbourhood of each raw number."""
        return np.where(self.bounded, self.reach * (1.0 - np.tanh(raw) ** 2) + 1e-12, 1.0)

    def raw(self, actions: Floats) -> Doubles:
        """Return the numbers before squashing."""
        inner = np.clip((actions - self.centre) / self.reach, -EDGE, EDGE)
        return np.where(self.bounded, np.arctanh(np.where(self.bounded, inner, 0.0)), actions)

    def _placed(self, raw: Doubles) -> Floats:
        squashed = np.clip(np.tanh(raw), -EDGE, EDGE) * self.reach + self.centre
        return np.clip(np.where(self.bounded, squashed, raw).astype(np.float32), self._low, self._high)
