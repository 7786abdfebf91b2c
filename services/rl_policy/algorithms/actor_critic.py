"""A policy and a value network that learn together, with what losses need of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from services.rl_policy import spaces
from services.rl_policy.algorithms import networks
from services.rl_policy.algorithms.algorithm import Array, Bools, Doubles, Floats
from services.rl_policy.algorithms.networks import TINY
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.heads import GaussianHead, counts_of, head_of

_GAIN = float(np.sqrt(2.0))


@dataclass(frozen=True)
class Judged:
    """What the networks say of B actions that were taken."""

    log_odds: Tensor
    """(B,): logarithms of their probabilities, or densities."""
    entropy: Tensor
    """(B,): of the policy there; for a Box before squashing."""
    values: Tensor
    """(B,)."""


class ActorCritic(nn.Module):
    """Two separate networks with tanh layers, orthogonal weights and a nearly uniform first policy."""

    def __init__(self, plan: Plan, hidden: tuple[int, ...], random: np.random.Generator) -> None:
        super().__init__()
        self._head = head_of(plan.action)
        self._gaussian = self._head if isinstance(self._head, GaussianHead) else None
        self._counts = () if self._gaussian else counts_of(plan.action)
        inputs = spaces.flat_size(plan.observation)
        outputs = self._head.outputs // 2 if self._gaussian else self._head.outputs
        self.actor = networks.mlp((inputs, *hidden, outputs), "tanh", random, (_GAIN, 0.01))
        self.critic = networks.mlp((inputs, *hidden, 1), "tanh", random, (_GAIN, 1.0))
        self.log_deviations = nn.Parameter(torch.zeros(outputs)) if self._gaussian else None
        self._space = plan.observation

    def inputs(self, observations: Floats, normaliser: Normaliser | None) -> Tensor:
        """Return what the networks read of compact rows."""
        rows = spaces.expand(self._space, observations)
        return networks.tensor(normaliser(rows) if normaliser else rows)

    def judge(self, inputs: Tensor, actions: Tensor, masks: Tensor) -> Judged:
        """Return log odds, entropy and values; `actions` are as `prepared` made them."""
        values = self.critic(inputs)[:, 0]
        outputs = self.actor(inputs)
        log_odds, entropy = (
            self._normal(outputs, actions) if self._gaussian else self._categories(outputs, actions, masks)
        )
        return Judged(log_odds, entropy, values)

    def acting(self) -> list[nn.Parameter]:
        """Return what decides on actions: all but the value network."""
        own = [] if self.log_deviations is None else [self.log_deviations]
        return [*self.actor.parameters(), *own]

    def prepared(self, actions: Floats, masks: Bools) -> tuple[Tensor, Tensor]:
        """Return actions and masks for `judge`: indices, or numbers before squashing."""
        if self._gaussian:
            return torch.from_numpy(self._gaussian.raw(actions)), torch.from_numpy(masks)
        return torch.from_numpy(actions.astype(np.int64)), torch.from_numpy(masks)

    @torch.no_grad()
    def values(self, inputs: Tensor) -> Doubles:
        """Return the values of states (B,)."""
        values: Doubles = self.critic(inputs)[:, 0].double().numpy()
        return values

    def arrays(self) -> dict[str, Array]:
        """Return the weights as ActorPolicy reads them."""
        parts = {**networks.arrays(self.actor, "actor"), **networks.arrays(self.critic, "critic")}
        if self.log_deviations is not None:
            parts["log_deviations"] = self.log_deviations.detach().numpy().copy()
        return parts

    def _categories(self, outputs: Tensor, actions: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        log_odds, entropy = torch.zeros(len(outputs)), torch.zeros(len(outputs))
        logits = torch.split(outputs.masked_fill(~masks, TINY), list(self._counts), dim=1)
        for index, part in enumerate(logits):
            logs = torch.log_softmax(part, dim=1)
            log_odds = log_odds + logs.gather(1, actions[:, index : index + 1])[:, 0]
            entropy = entropy - (logs.exp() * logs.clamp(min=-100.0)).sum(dim=1)
        return log_odds, entropy

    def _normal(self, means: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        assert self._gaussian is not None and self.log_deviations is not None  # noqa: S101, PT018 - see judge
        normal = torch.distributions.Normal(means, self.log_deviations.exp(), validate_args=False)
        stretch = torch.from_numpy(np.log(self._gaussian.stretch(raw.numpy())))
        log_odds = (normal.log_prob(raw) - stretch).sum(dim=1).float()  # type: ignore[no-untyped-call]
        entropy = normal.entropy().sum(dim=1)  # type: ignore[no-untyped-call]
        return log_odds, entropy


def logged(propensities: Doubles, own: Doubles) -> Tensor:
    """Return the logarithms of the odds with which actions were chosen; `own` where they were not logged."""
    odds = np.where(np.isnan(propensities), own, np.log(np.maximum(propensities, 1e-12)))
    return networks.tensor(odds)
