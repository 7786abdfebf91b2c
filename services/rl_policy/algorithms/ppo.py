"""PPO (Schulman et al.: Proximal Policy Optimization Algorithms, 2017, equations 7 and 9).

    ratio = pi(a | s) / pi_old(a | s)
    loss = -mean of min(ratio * A, clip(ratio, 1 - e, 1 + e) * A) + c_v * mean (R - V(s))^2 - c_e * mean H

pi_old is the propensity in the log: what acted may be older than what learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from services.rl_policy.algorithms import networks
from services.rl_policy.algorithms.on_policy import OnPolicyLearner, Rollout, Tools
from services.rl_policy.algorithms.options import PpoOptions
from services.rl_policy.algorithms.plan import Plan


@dataclass(frozen=True)
class Ppo:
    """Several epochs of minibatches over each rollout."""

    options: PpoOptions
    whole_episodes: bool = False

    @property
    def decay(self) -> float:
        """The lambda of the advantages."""
        return self.options.gae_lambda

    def update(self, rollout: Rollout, tools: Tools) -> Mapping[str, float]:
        """Go over the rollout, in new orders, until done or too far from the policy that acted."""
        metrics: list[dict[str, float]] = []
        for _ in range(self.options.epochs):
            order, size = tools.random.permutation(len(rollout)), self.options.batch_size
            parts = [order[begin : begin + size] for begin in range(0, len(rollout), size)]
            metrics.extend([self._step(rollout[part], tools) for part in parts])
            if self.options.target_kl and metrics[-1]["kl"] > 1.5 * self.options.target_kl:
                break
        return {name: float(np.mean([each[name] for each in metrics])) for name in metrics[0]}

    def _step(self, batch: Rollout, tools: Tools) -> dict[str, float]:
        options = self.options
        judged = tools.model.judge(batch.inputs, batch.actions, batch.masks)
        gains = batch.advantages
        if options.normalise_advantages and len(batch) > 1:
            gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        log_ratio = judged.log_odds - batch.log_odds
        ratio = log_ratio.exp()
        clip = options.clip.at(tools.step)
        policy_loss = -torch.min(ratio * gains, ratio.clamp(1 - clip, 1 + clip) * gains).mean()
        value_loss = (batch.returns - judged.values).square().mean()
        entropy = judged.entropy.mean()
        loss = policy_loss + options.value_coefficient * value_loss - options.entropy_coefficient * entropy
        rate = options.learning_rate.at(tools.step)
        networks.step(tools.optimizer, loss, rate, options.max_grad_norm)
        return {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "entropy": entropy.item(),
            "kl": ((ratio - 1) - log_ratio).mean().item(),
        }


def learner(plan: Plan) -> OnPolicyLearner:
    """Return a learner that knows nothing yet."""
    assert isinstance(plan.options, PpoOptions)  # noqa: S101 - the plan has seen to it
    return OnPolicyLearner(plan, Ppo(plan.options))
