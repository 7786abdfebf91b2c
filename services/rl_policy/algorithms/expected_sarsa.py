"""Expected SARSA (van Seijen et al., 2009; Sutton, Barto: Reinforcement Learning, 2018, equation 6.9).

    Q(s, a) += alpha * (r + gamma * sum over a' of pi(a' | s') Q(s', a') - Q(s, a))

pi is the epsilon-greedy policy over what the next mask allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.rl_policy.algorithms import choice
from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.tabular import Step, TableLearner


@dataclass(frozen=True)
class ExpectedSarsa:
    """The target with what the policy would do next, on average."""

    discount: float
    tables: int = 1
    waits: bool = False

    def error(self, tables: Doubles, step: Step, epsilon: float, coin: float) -> tuple[int, float]:  # noqa: ARG002
        """Return the temporal difference."""
        following = expectation(tables[0], step, epsilon)
        return 0, step.reward + self.discount * following - tables[0, step.state, step.action]


def expectation(table: Doubles, step: Step, epsilon: float) -> float:
    """Return the value of the next state under the epsilon-greedy policy, 0 where the episode terminated."""
    if step.terminated:
        return 0.0
    values = table[step.next_state][None]
    return float((choice.epsilon_greedy(values, step.next_mask[None], epsilon) * values).sum())


def learner(plan: Plan) -> TableLearner:
    """Return a learner that knows nothing yet."""
    return TableLearner(plan, ExpectedSarsa(plan.discount))
