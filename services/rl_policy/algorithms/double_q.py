"""Double Q-learning (van Hasselt: Double Q-learning, 2010, algorithm 1).

A coin decides which table learns; it chooses the best next action, and the other one says what that is worth:

    Q1(s, a) += alpha * (r + gamma * Q2(s', argmax over a' of Q1(s', a')) - Q1(s, a))

so that noise which made an action look best does not also make its value look high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.tabular import Step, TableLearner


@dataclass(frozen=True)
class DoubleQ:
    """The target with one table's choice and the other's value."""

    discount: float
    tables: int = 2
    waits: bool = False

    def error(self, tables: Doubles, step: Step, epsilon: float, coin: float) -> tuple[int, float]:  # noqa: ARG002
        """Return which table learns, and its temporal difference."""
        chosen = int(coin < 0.5)
        own, other = tables[chosen], tables[1 - chosen]
        following = 0.0
        if not step.terminated:
            best = np.where(step.next_mask, own[step.next_state], -np.inf).argmax()
            following = other[step.next_state, best]
        return chosen, step.reward + self.discount * following - own[step.state, step.action]


def learner(plan: Plan) -> TableLearner:
    """Return a learner that knows nothing yet."""
    return TableLearner(plan, DoubleQ(plan.discount))
