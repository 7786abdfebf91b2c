"""Acts from linear models of the reward: the three rules of contextual bandits.

LinUCB: Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation,
2010, algorithm 1. Thompson sampling: Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear
Payoffs, 2013. SquareCB: Foster, Rakhlin, Beyond UCB, 2020, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.rl_policy.algorithms import choice, draws
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.features import Features
from services.rl_policy.algorithms.options import BanditOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.kind import named


class LinearPolicy:
    """Rewards are expected as theta · features; `theta` (models, d), `covariance` (models, d, d).

    `count` is how many rewards were learned from.
    """

    draws = 2

    def __init__(self, plan: Plan, theta: Doubles, covariance: Doubles, count: int) -> None:
        self._features = Features.of(plan)
        if theta.shape != self._features.shape or covariance.shape != (*theta.shape, theta.shape[1]):
            raise ValueError(f"the model has the shape {theta.shape}, not {self._features.shape}")
        options = plan.options
        assert isinstance(options, BanditOptions)  # noqa: S101 - the plan has seen to it
        self._rule = plan.algorithm
        self._options = options
        self._theta = theta
        self._covariance = covariance
        self._count = count

    @classmethod
    def of(cls, plan: Plan, weights: Mapping[str, Array]) -> LinearPolicy:
        """Return the policy that was saved; raises KeyError or ValueError where it does not fit."""
        return cls(plan, weights["theta"], weights["covariance"], int(weights["count"][0]))

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row; the second uniform number seeds Thompson's draws."""
        features = self._features(observations)
        means = self._means(features)
        odds = self._odds(features, means, masks, mode, uniforms[:, 1])
        chosen = choice.drawn(odds, uniforms[:, 0])
        worth = choice.of_rows(means, chosen)
        return Actions(chosen[:, None].astype(np.float32), choice.of_rows(odds, chosen), worth)

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return the probability of each action; for Thompson that of draws with one fixed seed."""
        features = self._features(observations)
        fixed = np.full(len(observations), 0.5)
        return self._odds(features, self._means(features), masks, mode, fixed)

    def weights(self) -> Mapping[str, Array]:
        """Return the models."""
        count = np.asarray([self._count])
        return {"kind": named("linear"), "theta": self._theta, "covariance": self._covariance, "count": count}

    def _odds(self, features: Doubles, means: Doubles, masks: Bools, mode: Mode, seeds: Doubles) -> Doubles:
        if mode is Mode.GREEDY:
            return choice.one_hot(choice.greedy(means, masks), means.shape[1])
        if self._rule == "squarecb":
            return self._squarecb(means, masks)
        widths = self._options.exploration * self._widths(features)
        if self._rule == "linucb":
            return choice.epsilon_greedy(means + widths, masks, 0.0)
        return self._thompson(means, widths, features, masks, seeds)

    def _squarecb(self, means: Doubles, masks: Bools) -> Doubles:
        """Return 1 / (K + gamma (best - mean)) for all but the best, which gets the rest.

        gamma grows with the square root of K times what was learned from, as the paper's bound wants.
        """
        allowed = masks.sum(axis=1, keepdims=True)
        gamma = self._options.exploration * np.sqrt(allowed * max(self._count, 1))
        best = choice.greedy(means, masks)
        gaps = choice.of_rows(means, best)[:, None] - means
        odds = np.where(masks, 1.0 / (allowed + gamma * np.maximum(gaps, 0.0)), 0.0)
        odds[np.arange(len(odds)), best] = 0.0
        odds[np.arange(len(odds)), best] = 1.0 - odds.cumsum(axis=1)[:, -1]
        return odds

    def _thompson(
        self, means: Doubles, widths: Doubles, features: Doubles, masks: Bools, seeds: Doubles
    ) -> Doubles:
        """Return how often each action is best among draws from the posterior.

        The action is then drawn from these shares, so that its propensity is exact and not an estimate.
        """
        samples = self._options.samples
        if len(self._theta) > 1:  # the actions' models are independent, and so are their noises
            noise = draws.normals(seeds, samples * means.shape[1]).reshape(len(means), samples, -1)
            scores = means[:, None] + widths[:, None] * noise
        else:
            normals = draws.normals(seeds, samples * features.shape[2]).reshape(len(means), samples, -1)
            roots = np.linalg.cholesky(self._covariance[0])
            directions = np.matmul(features[:, :, None], roots)[:, None, :, 0]
            noise = np.matmul(directions[:, :, :, None, :], normals[:, :, None, :, None])[..., 0, 0]
            scores = means[:, None] + self._options.exploration * noise
        best = np.where(masks[:, None], scores, -np.inf).argmax(axis=2)
        shares: Doubles = (best[:, :, None] == np.arange(means.shape[1])).sum(axis=1) / samples
        return shares

    def _means(self, features: Doubles) -> Doubles:
        means: Doubles = np.matmul(features[:, :, None], self._theta[None, :, :, None])[..., 0, 0]
        return means

    def _widths(self, features: Doubles) -> Doubles:
        spread = np.matmul(np.matmul(features[:, :, None], self._covariance[None]), features[..., None])
        widths: Doubles = np.sqrt(np.maximum(spread[..., 0, 0], 0.0))
        return widths
