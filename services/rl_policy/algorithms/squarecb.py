"""SquareCB (Foster, Rakhlin: Beyond UCB, 2020, algorithm 1).

    p(a) = 1 / (K + gamma * (y(best) - y(a))) for all but the best a, which gets the rest;  y(a) = theta' x_a

Its propensities are above 0 for every action that is allowed, so that its log can judge other policies.
The rule is in `policies.linear`, the models in `ridge`.
"""

from __future__ import annotations

from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.ridge import RidgeLearner


def learner(plan: Plan) -> RidgeLearner:
    """Return a learner that knows nothing yet."""
    return RidgeLearner(plan)
