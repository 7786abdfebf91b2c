"""Acts at random: what a policy does before it has learned anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from services.rl_policy.algorithms import choice
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.kind import named


class UniformPolicy:
    """Every allowed action of a Discrete space equally likely, whatever the mode."""

    draws = 1

    @classmethod
    def of(cls, plan: Plan, weights: Mapping[str, Array]) -> Self:  # noqa: ARG003 - as every kind of policy
        """Return it; there is nothing to it."""
        return cls()

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row."""
        odds = self.distribution(observations, masks, mode)
        chosen = choice.drawn(odds, uniforms[:, 0])
        values = np.full(len(odds), np.nan)
        return Actions(chosen[:, None].astype(np.float32), choice.of_rows(odds, chosen), values)

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:  # noqa: ARG002
        """Return the probability of each action."""
        odds: Doubles = masks / masks.sum(axis=1, keepdims=True)
        return odds

    def weights(self) -> Mapping[str, Array]:
        """Return its name."""
        return {"kind": named("uniform")}
