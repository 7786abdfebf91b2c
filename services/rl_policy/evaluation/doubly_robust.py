"""The doubly robust estimate: a model of action values, corrected by importance sampling where it is wrong.

    V(s_0) + sum over t of discount^t (r_1 ... r_t) (reward_t + discount V(s_(t+1)) - Q(s_t, a_t))

Right where either the model or the propensities are. Jiang, Li: Doubly Robust Off-policy Value Evaluation for
Reinforcement Learning, 2016; Thomas, Brunskill, 2016. Each half of the episodes is judged by the model that
was fitted to the other half, so that no episode is judged by itself (Chernozhukov et al., 2018).
"""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.evaluation.action_values import Model, model_of
from services.rl_policy.evaluation.estimate import Estimate, effective_size, interval, require
from services.rl_policy.evaluation.importance import doubts, require_propensities
from services.rl_policy.evaluation.logged import Logged
from services.rl_policy.evaluation.question import Question
from services.rl_policy.spaces import Space


def doubly_robust(logged: Logged, observation: Space, question: Question) -> Estimate:
    """Return the estimate; episodes are independent of each other, so that its interval is Student's."""
    require_propensities(logged, question.method)
    ends = np.append(logged.starts[1:], len(logged.transitions)) - 1
    weights = logged.products()[ends]
    effective = effective_size(weights)
    require(question.method, effective, max(question.min_effective, 2.0))
    values = _values(logged, model_of(observation, logged), question.discount)
    low, high = interval(values, question.confidence, effective)
    return Estimate(float(values.mean()), low, high, logged.episodes, effective, warnings=doubts(weights))


def _values(logged: Logged, model: Model, discount: float) -> Doubles:
    """Return (E,) the value that each episode stands for."""
    half = np.arange(logged.episodes) % 2
    values = np.empty(logged.episodes)
    for judged in (0, 1):
        own, following = model.fit((half != judged)[logged.owners].astype(np.float64), discount)
        values[half == judged] = _corrected(logged, own, following, discount)[half == judged]
    return values


def _corrected(logged: Logged, own: Doubles, following: Doubles, discount: float) -> Doubles:
    transitions = logged.transitions
    expected = (logged.odds * own).sum(axis=1)
    after = np.where(transitions.terminated, 0.0, (logged.next_odds * following).sum(axis=1))
    taken = np.take_along_axis(own, logged.actions[:, :1], axis=1)[:, 0]
    surprise = transitions.reward + discount * after - taken
    corrections = logged.products() * logged.discounts(discount) * surprise
    values: Doubles = expected[logged.starts] + logged.summed(corrections)
    return values
