"""A2C: the synchronous form of A3C (Mnih et al.: Asynchronous Methods for Deep Reinforcement Learning, 2016).

    loss = mean of (-log pi(a | s) * A) + c_v * mean of (R - V(s))^2 - c_e * mean of H(pi(s))

One step down it for each rollout; A is the advantage and R the return that `trajectories` computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.rl_policy.algorithms import networks
from services.rl_policy.algorithms.on_policy import OnPolicyLearner, Rollout, Tools
from services.rl_policy.algorithms.options import ActorCriticOptions
from services.rl_policy.algorithms.plan import Plan


@dataclass(frozen=True)
class PolicyGradient:
    """One step along the gradient of the policy, with the value network as baseline."""

    options: ActorCriticOptions
    decay: float
    whole_episodes: bool = False

    def update(self, rollout: Rollout, tools: Tools) -> Mapping[str, float]:
        """Make the step."""
        options = self.options
        judged = tools.model.judge(rollout.inputs, rollout.actions, rollout.masks)
        gains = rollout.advantages
        if options.normalise_advantages and len(rollout) > 1:
            gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        policy_loss = -(judged.log_odds * gains).mean()
        value_loss = (rollout.returns - judged.values).square().mean()
        entropy = judged.entropy.mean()
        loss = policy_loss + options.value_coefficient * value_loss - options.entropy_coefficient * entropy
        rate = options.learning_rate.at(tools.step)
        networks.step(tools.optimizer, loss, rate, options.max_grad_norm)
        return {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "entropy": entropy.item(),
        }


def learner(plan: Plan) -> OnPolicyLearner:
    """Return a learner that knows nothing yet."""
    assert isinstance(plan.options, ActorCriticOptions)  # noqa: S101 - the plan has seen to it
    return OnPolicyLearner(plan, PolicyGradient(plan.options, plan.options.gae_lambda))
