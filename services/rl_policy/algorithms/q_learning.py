"""Q-learning (Watkins, 1989; Sutton, Barto: Reinforcement Learning, 2018, equation 6.8).

    Q(s, a) += alpha * (r + gamma * max over a' of Q(s', a') - Q(s, a))

The best next action is looked for among those that the next mask allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.tabular import Step, TableLearner


@dataclass(frozen=True)
class QLearning:
    """The target with the best next action."""

    discount: float
    tables: int = 1
    waits: bool = False

    def error(self, tables: Doubles, step: Step, epsilon: float, coin: float) -> tuple[int, float]:  # noqa: ARG002
        """Return the temporal difference."""
        table = tables[0]
        following = 0.0 if step.terminated else table[step.next_state][step.next_mask].max()
        return 0, step.reward + self.discount * following - table[step.state, step.action]


def learner(plan: Plan) -> TableLearner:
    """Return a learner that knows nothing yet."""
    return TableLearner(plan, QLearning(plan.discount))
