"""Acts from a table of action values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.rl_policy.algorithms import choice
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.kind import named
from services.rl_policy.algorithms.states import States


class TablePolicy:
    """Epsilon-greedy over values (states, n); the states of observations are counted by `states`."""

    draws = 1

    def __init__(self, values: Doubles, epsilon: float, states: States) -> None:
        self.values = values
        self.epsilon = epsilon
        self._states = states

    @classmethod
    def of(cls, plan: Plan, weights: Mapping[str, Array]) -> TablePolicy:
        """Return the policy that was saved; raises KeyError or ValueError where it does not fit."""
        states = States.of(plan)
        values = weights["values"]
        if values.ndim != 2 or len(values) != states.count:
            raise ValueError(f"the table has the shape {values.shape}, not ({states.count}, actions)")
        return cls(values.astype(np.float64), float(weights["epsilon"][0]), states)

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row."""
        rows = self.values[self._states.indices(observations)]
        odds = self._odds(rows, masks, mode)
        chosen = choice.drawn(odds, uniforms[:, 0])
        return Actions(
            chosen[:, None].astype(np.float32), choice.of_rows(odds, chosen), choice.of_rows(rows, chosen)
        )

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return the probability of each action."""
        return self._odds(self.values[self._states.indices(observations)], masks, mode)

    def weights(self) -> Mapping[str, Array]:
        """Return the table and epsilon."""
        return {"kind": named("table"), "values": self.values, "epsilon": np.asarray([self.epsilon])}

    def _odds(self, rows: Doubles, masks: Bools, mode: Mode) -> Doubles:
        if mode is Mode.GREEDY:
            return choice.one_hot(choice.greedy(rows, masks), rows.shape[1])
        return choice.epsilon_greedy(rows, masks, self.epsilon)
