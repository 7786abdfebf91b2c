"""Diversity by maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998)."""

from __future__ import annotations

import numpy as np

from services.recommender.entities import Floats


def mmr(scores: Floats, likeness: Floats, diversity: float, count: int) -> list[int]:
    """Return the places of up to `count` of m candidates, in order of their choice.

    Each step takes the candidate with the largest (1 - diversity) · relevance - diversity · (likeness to the
    most alike of those taken). `scores` (m,) are scaled to [0, 1] first; `likeness` (m, m) should be within
    [-1, 1]. The first taken is the most relevant; 0 is the order of the scores, 1 looks at difference alone.
    """
    relevance = (1.0 - diversity) * scaled(scores)
    nearest = np.full(len(scores), -np.inf, np.float32)
    open_ = np.ones(len(scores), bool)
    taken: list[int] = []
    for _ in range(min(count, len(scores))):
        worth = relevance - diversity * nearest if taken else scores
        chosen = int(np.argmax(np.where(open_, worth, -np.inf)))
        taken.append(chosen)
        open_[chosen] = False
        np.maximum(nearest, likeness[chosen], out=nearest)
    return taken


def cosines(vectors: Floats) -> Floats:
    """Return (m, m) cosines of m vectors; a vector of zeros is like nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return np.asarray(unit @ unit.T, np.float32)


def scaled(scores: Floats) -> Floats:
    """Return scores stretched to [0, 1]; equal ones become 1."""
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 0.0)
    if high <= low:
        return np.ones_like(scores)
    return np.asarray((scores - low) / (high - low), np.float32)
