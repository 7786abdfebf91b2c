"""Samples of the log, for learners elsewhere: the same seed over the same log draws the same transitions."""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Ints, Transitions, joined
from services.rl_policy.store.transition_log import TransitionLog

_GAP = 4_096
"""Positions nearer than this are read in one go."""


def sample(log: TransitionLog, policy: str, size: int, seed: int, window: int = 0) -> Transitions | None:
    """Return `size` transitions drawn uniformly, with replacement; None where the log is empty.

    `window`: only of the last so many; 0: of all that are kept.
    """
    start, stop = log.bounds(policy)
    if window:
        start = max(start, stop - window)
    if start == stop:
        return None
    return at(log, policy, np.random.default_rng(seed).integers(start, stop, size))


def at(log: TransitionLog, policy: str, positions: Ints) -> Transitions:
    """Return the transitions at `positions`, at least one, in their order; all must be kept."""
    unique, places = np.unique(positions, return_inverse=True)
    cuts = np.flatnonzero(np.diff(unique) > _GAP) + 1
    runs = np.split(unique, cuts)
    parts = [log.range(policy, int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs]
    return joined(parts)[places]
