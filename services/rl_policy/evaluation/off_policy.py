"""Judges a version by episodes in which others acted: one door to all estimators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Mode, Policy, Transitions
from services.rl_policy.evaluation import importance, modelled
from services.rl_policy.evaluation.doubly_robust import doubly_robust
from services.rl_policy.evaluation.estimate import Estimate, require
from services.rl_policy.evaluation.logged import seen_by
from services.rl_policy.evaluation.question import Method, Question
from services.rl_policy.spaces import Discrete, Space

_BY_WEIGHTS = {Method.IPS: importance.ips, Method.SNIPS: importance.snips, Method.PDIS: importance.pdis}
_BY_MODEL = {Method.DIRECT: modelled.direct, Method.FQE: modelled.fqe, Method.DOUBLY_ROBUST: doubly_robust}


@dataclass(frozen=True)
class Candidate:
    """A policy to be judged: how it acts, and in which spaces."""

    policy: Policy
    mode: Mode
    observation: Space
    action: Space


def evaluate(candidate: Candidate, episodes: Sequence[Transitions], question: Question) -> Estimate:
    """Return the candidate's value, from whole episodes, each in the order of its steps.

    Computes for seconds where the log is long: call it on a thread. Raises InvalidArgument where the method
    does not fit the actions or the log, FailedPrecondition (EVIDENCE_TOO_THIN) where the log says too little.
    """
    if question.method in _BY_MODEL and not isinstance(candidate.action, Discrete):
        raise invalid(
            "off_policy.method", f"{question.method} needs discrete actions: take ips, snips or pdis"
        )
    require(question.method, float(len(episodes)), 2)
    logged = seen_by(candidate.policy, candidate.mode, candidate.action, episodes)
    if question.method in _BY_WEIGHTS:
        return _BY_WEIGHTS[question.method](logged, question)
    return _BY_MODEL[question.method](logged, candidate.observation, question)
