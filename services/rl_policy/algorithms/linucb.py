"""LinUCB (Li, Chu, Langford, Schapire: A Contextual-Bandit Approach, 2010, algorithm 1).

    a = argmax of theta' x_a + alpha * sqrt(x_a' A^-1 x_a)

Acts greedily by the upper bound: its propensity is 1, or shared where bounds are equal. What is in the log
of such a policy alone cannot judge another one.
The rule is in `policies.linear`, the models in `ridge`.
"""

from __future__ import annotations

from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.ridge import RidgeLearner


def learner(plan: Plan) -> RidgeLearner:
    """Return a learner that knows nothing yet."""
    return RidgeLearner(plan)
