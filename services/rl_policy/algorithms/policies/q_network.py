"""Acts from a network of action values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.rl_policy import spaces
from services.rl_policy.algorithms import choice
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.kind import named
from services.rl_policy.algorithms.policies.mlp import Mlp


class QNetworkPolicy:
    """Epsilon-greedy over the network's values.

    A dueling network has one output more, V(s), the first: Q(s, a) = V(s) + A(s, a) - mean of A(s, ·)
    (Wang et al.: Dueling Network Architectures, 2016, equation 9).
    """

    draws = 1

    def __init__(
        self, space: spaces.Space, network: Mlp, actions: int, epsilon: float, normaliser: Normaliser | None
    ) -> None:
        self._space = space
        self._network = network
        self._actions = actions
        self._normaliser = normaliser
        self.epsilon = epsilon

    @classmethod
    def of(cls, plan: Plan, weights: Mapping[str, Array]) -> QNetworkPolicy:
        """Return the policy that was saved; raises KeyError or ValueError where it does not fit."""
        network = Mlp.of(weights, "q", spaces.flat_size(plan.observation), "relu")
        actions = spaces.mask_size(plan.action)
        if network.outputs not in {actions, actions + 1}:
            raise ValueError(f"the network has {network.outputs} outputs for {actions} actions")
        normaliser = Normaliser.of(weights, "observations") if "observations.mean" in weights else None
        return cls(plan.observation, network, actions, float(weights["epsilon"][0]), normaliser)

    def values(self, observations: Floats) -> Floats:
        """Return (B, actions): what each action is worth."""
        rows = spaces.expand(self._space, observations)
        outputs = self._network(self._normaliser(rows) if self._normaliser else rows)
        if outputs.shape[1] == self._actions:
            return outputs
        advantages = outputs[:, 1:]
        mean = advantages.cumsum(axis=1)[:, -1:] / np.float32(self._actions)
        values: Floats = (outputs[:, :1] + advantages - mean).astype(np.float32, copy=False)
        return values

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row."""
        values = self.values(observations)
        odds = self._odds(values, masks, mode)
        chosen = choice.drawn(odds, uniforms[:, 0])
        worth = choice.of_rows(values, chosen).astype(np.float64)
        return Actions(chosen[:, None].astype(np.float32), choice.of_rows(odds, chosen), worth)

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return the probability of each action."""
        return self._odds(self.values(observations), masks, mode)

    def weights(self) -> Mapping[str, Array]:
        """Return network, epsilon and normaliser."""
        normaliser = self._normaliser.weights("observations") if self._normaliser else {}
        epsilon = np.asarray([self.epsilon])
        return {"kind": named("q_network"), "epsilon": epsilon, **self._network.weights("q"), **normaliser}

    def _odds(self, values: Floats, masks: Bools, mode: Mode) -> Doubles:
        if mode is Mode.GREEDY:
            return choice.one_hot(choice.greedy(values, masks), self._actions)
        return choice.epsilon_greedy(values, masks, self.epsilon)
