"""Thompson sampling (Agrawal, Goyal: Thompson Sampling for Contextual Bandits, 2013, algorithm 1).

    theta ~ N(A^-1 b, v^2 A^-1),  a = argmax of theta' x_a

The propensity of such a draw has no closed form. So the action is drawn from the shares that each has among
`samples` draws: these shares are exact.
The rule is in `policies.linear`, the models in `ridge`.
"""

from __future__ import annotations

from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.ridge import RidgeLearner


def learner(plan: Plan) -> RidgeLearner:
    """Return a learner that knows nothing yet."""
    return RidgeLearner(plan)
