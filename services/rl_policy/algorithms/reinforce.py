"""REINFORCE with a baseline (Williams, 1992; Sutton, Barto: Reinforcement Learning, 2018, section 13.4).

    loss = mean of (-log pi(a | s) * (G - V(s))) + c_v * mean of (G - V(s))^2

G is the discounted return of the whole episode from s on; an episode that was cut goes on with V of where it
was cut. As everywhere, the factor gamma^t of the theorem is left out.
"""

from __future__ import annotations

from services.rl_policy.algorithms.a2c import PolicyGradient
from services.rl_policy.algorithms.on_policy import OnPolicyLearner
from services.rl_policy.algorithms.options import ActorCriticOptions
from services.rl_policy.algorithms.plan import Plan


def learner(plan: Plan) -> OnPolicyLearner:
    """Return a learner that knows nothing yet; its lambda is 1, whatever the options say."""
    assert isinstance(plan.options, ActorCriticOptions)  # noqa: S101 - the plan has seen to it
    return OnPolicyLearner(plan, PolicyGradient(plan.options, decay=1.0, whole_episodes=True))
