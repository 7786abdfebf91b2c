"""Blending: scores of several sources, each with a scale of its own, become one.

z-score: each source's scores less their mean, over their standard deviation, per user; the weighted sum
(Wu, Crestani & Bi, "Evaluating score normalization methods in data fusion", AIRS 2006). The spread of a
source's scores counts. Reciprocal rank: the weighted sum of 1 / (60 + rank) (Cormack, Clarke & Büttcher,
SIGIR 2009); only the order counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from services.recommender.entities import Floats

Blend = Literal["z_score", "reciprocal_rank"]

RANK_OFFSET = 60.0
"""The constant of Cormack et al.: how little the first ranks stand out."""
_FLAT = 1e-12


def z_scores(scores: Floats) -> Floats:
    """Return (B, n) scores, each row of mean 0 and standard deviation 1; a row of equal scores becomes 0."""
    means = scores.mean(axis=1, keepdims=True)
    centred: Floats = np.asarray(scores - means, np.float32)
    deviations = np.sqrt(np.einsum("ij,ij->i", centred, centred) / max(scores.shape[1], 1))
    factors = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > _FLAT)
    centred *= factors[:, None].astype(np.float32)
    return centred


def reciprocal_ranks(scores: Floats) -> Floats:
    """Return (B, n): 1 / (60 + rank) by descending score, from rank 1; equal scores in order of columns."""
    order = np.argsort(-scores, axis=1, kind="stable")
    values = (1.0 / (RANK_OFFSET + np.arange(1, scores.shape[1] + 1))).astype(np.float32)
    ranks = np.empty_like(scores, dtype=np.float32)
    np.put_along_axis(ranks, order, np.broadcast_to(values, scores.shape), axis=1)
    return ranks


def blend(scores: Sequence[Floats], weights: Sequence[float], how: Blend = "z_score") -> Floats:
    """Return the weighted blend (B, n) of sources' scores, each (B, n) over the same columns."""
    normalise = z_scores if how == "z_score" else reciprocal_ranks
    total = np.zeros_like(scores[0], dtype=np.float32)
    for each, weight in zip(scores, weights, strict=True):
        part = normalise(each)
        part *= np.float32(weight)
        total += part
    return total
