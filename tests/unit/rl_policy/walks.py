"""Transitions to keep and to read again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.rl_policy.algorithms.algorithm import Transitions
from services.rl_policy.store.ids import Ids


def walk(
    ids: Ids, steps: int, *, episode: int = 1, seed: int = 0, rewards: Sequence[float] | None = None
) -> Transitions:
    """Return an episode of `steps` steps with decisions of its own; reward 1 a step where none are given."""
    generator = np.random.default_rng(seed)
    seen = generator.normal(size=(steps + 1, 4)).astype(np.float32)
    first = ids.take(steps)
    ends = np.arange(steps) == steps - 1
    return Transitions(
        episode=np.full(steps, episode),
        step=np.arange(steps),
        observation=seen[:-1],
        action=generator.integers(0, 2, (steps, 1)),
        propensity=np.full(steps, 0.5),
        reward=np.ones(steps) if rewards is None else np.array(rewards, np.float64),
        next_observation=seen[1:],
        terminated=ends,
        truncated=np.zeros(steps, np.bool_),
        mask=np.ones((steps, 2), np.bool_),
        next_mask=generator.random((steps, 2)) < 0.5,
        decision_id=np.arange(first, first + steps),
        policy_version=np.ones(steps, np.int64),
    )


def same(left: Transitions, right: Transitions) -> bool:
    """Return whether both hold the same bits in the same types."""
    pairs = zip(left.columns(), right.columns(), strict=True)
    return all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for (_, one), (_, other) in pairs
    )
