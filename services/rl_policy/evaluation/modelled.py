"""Estimates by a model of action values: the direct method, and fitted Q evaluation.

Their intervals are the bootstrap's over episodes (Hao et al.: Bootstrapping Fitted Q-Evaluation for
Off-Policy Inference, 2021). A model that cannot follow the truth is wrong by more than they say.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.evaluation.action_values import Model, model_of
from services.rl_policy.evaluation.estimate import RESAMPLES, Estimate, effective_size, percentiles, require
from services.rl_policy.evaluation.logged import Logged
from services.rl_policy.evaluation.question import Question
from services.rl_policy.spaces import Space

_ROWS_RESAMPLED = 1_000_000
"""Rows that all resamples together look at; a longer log gets fewer resamples, at least a fifth of them."""


def direct(logged: Logged, observation: Space, question: Question) -> Estimate:
    """Return the estimate by a model of the reward, for single decisions (Dudik, Langford, Li, 2011)."""
    if len(logged.transitions) > logged.episodes:
        raise invalid("off_policy.method", "direct judges single decisions: take fqe for longer episodes")
    return fqe(logged, observation, replace(question, discount=0.0))


def fqe(logged: Logged, observation: Space, question: Question) -> Estimate:
    """Return the estimate by fitted Q evaluation."""
    share = effective_size(logged.ratios) / len(logged.transitions)
    effective = share * logged.episodes
    require(question.method, effective, max(question.min_effective, 2.0))
    model = model_of(observation, logged)
    mean = _value(logged, model, np.ones(logged.episodes), question.discount)
    resamples = max(RESAMPLES // 5, min(RESAMPLES, _ROWS_RESAMPLED // len(logged.transitions)))
    generator = np.random.default_rng(0)
    resampled = []
    for _ in range(resamples):
        drawn = generator.integers(0, logged.episodes, logged.episodes)
        counts = np.bincount(drawn, minlength=logged.episodes).astype(np.float64)
        resampled.append(_value(logged, model, counts, question.discount))
    low, high = percentiles(resampled, question.confidence)
    return Estimate(mean, low, high, logged.episodes, effective, warnings=_doubts(logged))


def _value(logged: Logged, model: Model, counts: Doubles, discount: float) -> float:
    """Return what the policy's first decisions are worth, episodes counting `counts`."""
    values, _ = model.fit(counts[logged.owners], discount)
    worth = (logged.odds * values).sum(axis=1)[logged.starts]
    return float((worth * counts).sum() / counts.sum())


def _doubts(logged: Logged) -> tuple[str, ...]:
    missing = int(np.count_nonzero(~logged.known))
    if not missing:
        return ()
    return (f"{missing} actions have no propensity: the effective sample counts them as uniform.",)
