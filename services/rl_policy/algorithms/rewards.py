"""Scales rewards by the deviation of the discounted return (Engstrom et al., 2020)."""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles, State, Transitions
from services.rl_policy.algorithms.normaliser import CLIP, Normaliser

MOST_RUNNING = 65_536
"""Episodes that are followed; the one that has stood still longest is given up beyond that."""


class RewardScale:
    """Follows each episode's discounted return so far, in the order of the log."""

    def __init__(self, discount: float) -> None:
        self._discount = discount
        self._running: dict[int, float] = {}
        self._spread = Normaliser.fresh(1)

    def __call__(self, batch: Transitions) -> Doubles:
        """Take the batch in and return its rewards, scaled."""
        ends = (batch.terminated | batch.truncated).tolist()
        totals = np.empty((len(batch), 1))
        for row, (episode, reward) in enumerate(
            zip(batch.episode.tolist(), batch.reward.tolist(), strict=True)
        ):
            total = self._running.pop(episode, 0.0) * self._discount + reward
            totals[row] = total
            if not ends[row]:
                self._running[episode] = total
        while len(self._running) > MOST_RUNNING:
            del self._running[next(iter(self._running))]
        self._spread = self._spread.updated(totals)
        scaled: Doubles = np.clip(batch.reward / np.sqrt(self._spread.variance[0] + 1e-8), -CLIP, CLIP)
        return scaled

    def state(self) -> State:
        """Return the spread, and the episodes that are under way."""
        episodes = np.asarray(list(self._running), np.int64)
        totals = np.asarray(list(self._running.values()), np.float64)
        return {**self._spread.weights("returns"), "returns.episodes": episodes, "returns.totals": totals}

    def restore(self, state: State) -> None:
        """Become the one that `state` was taken from."""
        self._spread = Normaliser.of(state, "returns")
        pairs = zip(state["returns.episodes"].tolist(), state["returns.totals"].tolist(), strict=True)
        self._running = dict(pairs)
