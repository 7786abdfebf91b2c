"""SARSA (Rummery, Niranjan, 1994; Sutton, Barto: Reinforcement Learning, 2018, equation 6.7).

    Q(s, a) += alpha * (r + gamma * Q(s', a') - Q(s, a))

a' is what was done next. Where an episode is cut and no a' follows, its expectation stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.algorithms.expected_sarsa import expectation
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.tabular import Step, TableLearner


@dataclass(frozen=True)
class Sarsa:
    """The target with the next action that was taken."""

    discount: float
    tables: int = 1
    waits: bool = True

    def error(self, tables: Doubles, step: Step, epsilon: float, coin: float) -> tuple[int, float]:  # noqa: ARG002
        """Return the temporal difference."""
        table = tables[0]
        if step.next_action is None:
            following = expectation(table, step, epsilon)
        else:
            following = table[step.next_state, step.next_action]
        return 0, step.reward + self.discount * following - table[step.state, step.action]


def learner(plan: Plan) -> TableLearner:
    """Return a learner that knows nothing yet."""
    return TableLearner(plan, Sarsa(plan.discount))
