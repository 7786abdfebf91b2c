"""Advantages along episodes, however these are mixed in a log.

Generalised advantage estimation (Schulman et al., 2016, equation 16), backwards along each episode:

    delta = r + gamma * V(s') - V(s),  A = delta + gamma * lambda * A'

V(s') is 0 where the episode terminated and stays where it was cut; A' is 0 where nothing follows here.
With lambda = 1, A + V(s) is the discounted return.
"""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles, Transitions


def advantages(
    batch: Transitions, rewards: Doubles, values: tuple[Doubles, Doubles], discount: float, decay: float
) -> Doubles:
    """Return the advantage of each row (B,); `values` are those of observations and of next observations."""
    here, after = values
    deltas = rewards + discount * np.where(batch.terminated, 0.0, after) - here
    order = np.lexsort((batch.step, batch.episode))
    episode, step = batch.episode[order], batch.step[order]
    goes_on = np.append((episode[1:] == episode[:-1]) & (step[1:] == step[:-1] + 1), [False])
    goes_on &= ~(batch.terminated | batch.truncated)[order]
    factors = np.where(goes_on, discount * decay, 0.0)
    result = np.empty(len(batch))
    following = 0.0
    for row, delta, factor in zip(order[::-1].tolist(), deltas[order[::-1]], factors[::-1], strict=True):
        following = delta + factor * following
        result[row] = following
    return result


def finished(batch: Transitions) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say of each row (B,) whether its episode has ended within the batch."""
    ended = batch.episode[batch.terminated | batch.truncated]
    return np.isin(batch.episode, ended)
