"""From values or logits of discrete actions to probabilities, and from these to actions. Masks always hold.

Rows are independent of each other to the bit: sums are made from left to right in each row.
"""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Array, Bools, Doubles, Ints


def greedy(values: Array, masks: Bools) -> Ints:
    """Return the lowest index of the best allowed value of each row: (B, n) to (B,)."""
    best: Ints = np.where(masks, values, -np.inf).argmax(axis=1)
    return best


def one_hot(indices: Ints, count: int) -> Doubles:
    """Return (B, count) rows with all probability at `indices` (B,)."""
    rows = np.zeros((len(indices), count))
    rows[np.arange(len(indices)), indices] = 1.0
    return rows


def epsilon_greedy(values: Array, masks: Bools, epsilon: float) -> Doubles:
    """Return (B, n) probabilities: epsilon over what is allowed, the rest over the best, tied or not."""
    allowed = np.where(masks, values, -np.inf)
    best = masks & (allowed == allowed.max(axis=1, keepdims=True))
    exploring = epsilon / masks.sum(axis=1, keepdims=True)
    exploiting = (1.0 - epsilon) / best.sum(axis=1, keepdims=True)
    return np.where(masks, exploring, 0.0) + np.where(best, exploiting, 0.0)


def softmax(logits: Array, masks: Bools) -> Doubles:
    """Return (B, n) probabilities proportional to exp(logits) over what is allowed."""
    allowed = np.where(masks, logits.astype(np.float64), -np.inf)
    powers = np.exp(allowed - allowed.max(axis=1, keepdims=True))
    odds: Doubles = powers / powers.cumsum(axis=1)[:, -1:]
    return odds


def drawn(probabilities: Doubles, uniforms: Doubles) -> Ints:
    """Return the index that each of `uniforms` (B,) falls on in its row of (B, n); never an odd of 0."""
    ends = probabilities.cumsum(axis=1)
    below: Ints = (ends <= uniforms[:, None] * ends[:, -1:]).sum(axis=1)
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=1)
    chosen: Ints = np.minimum(below, last)
    return chosen


def of_rows(table: Array, columns: Ints) -> Array:
    """Return the entry of each row of (B, n) at its column: (B,)."""
    entries: Array = table[np.arange(len(columns)), columns]
    return entries
