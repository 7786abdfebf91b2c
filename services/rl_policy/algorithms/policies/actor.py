"""Acts from a network of the policy itself, with a second one for the values of states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.heads import GaussianHead, Head, head_of
from services.rl_policy.algorithms.policies.kind import named
from services.rl_policy.algorithms.policies.mlp import Mlp


class ActorPolicy:
    """A stochastic policy: logits or means by `actor`, the state's value by `critic` where there is one."""

    def __init__(self, plan: Plan, weights: Mapping[str, Array]) -> None:
        size = spaces.flat_size(plan.observation)
        self._space = plan.observation
        self._head: Head = head_of(plan.action)
        self._actor = Mlp.of(weights, "actor", size, "tanh")
        self._critic = Mlp.of(weights, "critic", size, "tanh") if "critic.0.weight" in weights else None
        self._deviations = weights["log_deviations"] if isinstance(self._head, GaussianHead) else None
        self._normaliser = Normaliser.of(weights, "observations") if "observations.mean" in weights else None
        if (
            self._actor.outputs + (0 if self._deviations is None else len(self._deviations))
            != self._head.outputs
        ):
            raise ValueError(f"the network has {self._actor.outputs} outputs, not {self._head.outputs}")

    @classmethod
    def of(cls, plan: Plan, weights: Mapping[str, Array]) -> ActorPolicy:
        """Return the policy that was saved; raises KeyError or ValueError where it does not fit."""
        return cls(plan, weights)

    @property
    def draws(self) -> int:
        """How many uniform numbers a row takes: one a discrete number, two a dimension of a Box."""
        return self._head.draws

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row."""
        rows = self._rows(observations)
        actions, propensities = self._head.act(self._outputs(rows), masks, mode, uniforms)
        unknown = np.full(len(rows), np.nan)
        values = self._critic(rows)[:, 0].astype(np.float64) if self._critic else unknown
        return Actions(actions, propensities, values)

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return the probability of each action."""
        return self._head.distribution(self._outputs(self._rows(observations)), masks, mode)

    def weights(self) -> Mapping[str, Array]:
        """Return both networks, the deviations and the normaliser."""
        parts = {"kind": named("actor"), **self._actor.weights("actor")}
        if self._critic:
            parts |= self._critic.weights("critic")
        if self._deviations is not None:
            parts["log_deviations"] = self._deviations
        return parts | (self._normaliser.weights("observations") if self._normaliser else {})

    def _rows(self, observations: Floats) -> Floats:
        rows = spaces.expand(self._space, observations)
        return self._normaliser(rows) if self._normaliser else rows

    def _outputs(self, rows: Floats) -> Floats:
        outputs = self._actor(rows)
        if self._deviations is None:
            return outputs
        deviations = np.broadcast_to(self._deviations, (len(rows), len(self._deviations)))
        return np.concatenate([outputs, deviations], axis=1)
