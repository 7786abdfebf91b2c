"""Ridge regression that takes in one reward after another: what the three bandits learn with.

Of each model A = ridge * I + sum of x x', b = sum of reward * x, theta = A^-1 b. A^-1 is kept by Sherman's
and Morrison's formula, and so costs d^2 a reward.
"""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Diverged, Report, State, Transitions
from services.rl_policy.algorithms.features import Features
from services.rl_policy.algorithms.inbox import Inbox
from services.rl_policy.algorithms.options import BanditOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.linear import LinearPolicy


class RidgeLearner:
    """Learns from each transition's own reward; what follows it does not matter."""

    memory = 0

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        assert isinstance(options, BanditOptions)  # noqa: S101 - the plan has seen to it
        self._plan, self._options = plan, options
        self._features = Features.of(plan)
        models, size = self._features.shape
        self._inverse = np.tile(np.eye(size) / options.ridge, (models, 1, 1))
        self._sums = np.zeros((models, size))
        self._theta = np.zeros((models, size))
        self._inbox = Inbox()
        self._step = 0
        self._updates = 0

    def observe(self, batch: Transitions) -> None:
        """Take in what comes next in the log."""
        self._inbox.put(batch)

    def learn(self) -> Report | None:
        """Learn from the transitions that there are, up to the next multiple of `publish_interval`."""
        interval = self._options.publish_interval
        while batch := self._inbox.take(interval - self._step % interval):
            errors = self._take(batch)
            if self._step % interval == 0:
                self._updates += 1
                metrics = {"loss": float(np.mean(np.square(errors)))}
                return Report(self._step, self._updates, metrics, publishes=True)
        return None

    def policy(self) -> LinearPolicy:
        """Return what acts by the models as they are."""
        return LinearPolicy(self._plan, self._theta.copy(), self._inverse.copy(), self._step)

    def state(self) -> State:
        """Return the models."""
        return {
            "inverse": self._inverse.copy(),
            "sums": self._sums.copy(),
            "theta": self._theta.copy(),
            "counters": np.asarray([self._step, self._updates]),
        }

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from."""
        self._inverse, self._sums = state["inverse"].copy(), state["sums"].copy()
        self._theta = state["theta"].copy()
        self._step, self._updates = state["counters"].tolist()

    def remember(self, batch: Transitions) -> None:
        """Take nothing back: the models are all there is."""

    def _take(self, batch: Transitions) -> list[float]:
        features = self._features(batch.observation)
        chosen = batch.action[:, 0].astype(np.int64)
        models = chosen if len(self._theta) > 1 else np.zeros_like(chosen)
        rows = zip(
            models.tolist(), features[np.arange(len(chosen)), chosen], batch.reward.tolist(), strict=True
        )
        errors = [self._learn_one(model, row, reward) for model, row, reward in rows]
        self._step += len(batch)
        if not (np.isfinite(errors).all() and np.isfinite(self._theta).all()):
            raise Diverged("a model of rewards is not finite")
        return errors

    def _learn_one(self, model: int, row: np.ndarray, reward: float) -> float:
        """Return by how much the reward differed from what was expected."""
        error = reward - float(self._theta[model] @ row)
        towards = self._inverse[model] @ row
        self._inverse[model] -= np.outer(towards, towards) / (1.0 + float(row @ towards))
        self._sums[model] += reward * row
        self._theta[model] = self._inverse[model] @ self._sums[model]
        return error
