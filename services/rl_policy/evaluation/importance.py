"""Importance sampling: what others earned, weighed by how much likelier this policy is to do the same.

With the ratios r_t = pi(a_t | s_t) / mu(a_t | s_t) of an episode and its return G:

    IPS     mean of (r_1 ... r_T) G                             unbiased, wide
    SNIPS   sum of (r_1 ... r_T) G / sum of (r_1 ... r_T)       slightly biased, much narrower
    PDIS    mean of sum over t of discount^t (r_1 ... r_t) reward_t

Precup, Sutton, Singh: Eligibility Traces for Off-Policy Policy Evaluation, 2000. Swaminathan, Joachims: The
Self-Normalized Estimator for Counterfactual Learning, 2015. Effective sample size: Kish, 1965.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.evaluation.estimate import Estimate, effective_size, interval, quantile_of_t, require
from services.rl_policy.evaluation.logged import Logged
from services.rl_policy.evaluation.question import Question

HEAVY = 0.1
"""An episode that carries more than this share of all weight is warned of."""


def ips(logged: Logged, question: Question) -> Estimate:
    """Return the estimate by whole episodes' weights."""
    weights = _weights(logged, question)
    values = weights * logged.returns(question.discount)
    return _of_values(logged, values, weights, question.confidence)


def pdis(logged: Logged, question: Question) -> Estimate:
    """Return the estimate that weighs each reward by the decisions before it alone."""
    weights = _weights(logged, question)
    rows = logged.products() * logged.discounts(question.discount) * logged.transitions.reward
    return _of_values(logged, logged.summed(rows), weights, question.confidence)


def snips(logged: Logged, question: Question) -> Estimate:
    """Return the self-normalised estimate; its interval is the delta method's."""
    weights = _weights(logged, question)
    returns = logged.returns(question.discount)
    mean = float((weights * returns).sum() / weights.sum())
    count, effective = logged.episodes, effective_size(weights)
    spread = float(((weights * (returns - mean)) ** 2).sum()) * count / (count - 1)
    reach = (
        quantile_of_t(0.5 + question.confidence / 2, max(effective - 1, 1.0))
        * sqrt(spread)
        / float(weights.sum())
    )
    return Estimate(mean, mean - reach, mean + reach, count, effective, warnings=doubts(weights))


def doubts(weights: Doubles) -> tuple[str, ...]:
    """Return what makes weighted episodes doubtful, in sentences."""
    share = float(weights.max() / weights.sum())
    if share <= HEAVY:
        return ()
    return (f"One episode carries {share:.0%} of all weight.",)


def require_propensities(logged: Logged, method: str) -> None:
    """Pass, or raise InvalidArgument where an action's propensity was not logged."""
    missing = int(np.count_nonzero(~logged.known))
    if missing:
        needs = f"{method} needs propensities, and {missing} actions have none: take fqe"
        raise invalid("off_policy.method", needs)


def _weights(logged: Logged, question: Question) -> Doubles:
    """Return (E,) the weights of whole episodes, if they are worth enough."""
    require_propensities(logged, question.method)
    ends = np.append(logged.starts[1:], len(logged.transitions)) - 1
    weights: Doubles = logged.products()[ends]
    require(question.method, effective_size(weights), max(question.min_effective, 2.0))
    return weights


def _of_values(logged: Logged, values: Doubles, weights: Doubles, confidence: float) -> Estimate:
    effective = effective_size(weights)
    low, high = interval(values, confidence, effective)
    return Estimate(float(values.mean()), low, high, logged.episodes, effective, warnings=doubts(weights))
