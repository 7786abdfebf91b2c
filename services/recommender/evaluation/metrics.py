"""Metrics of ranked lists, a number a user, and of what all lists together do.

With h_r 1 where place r of k is a hit, n what the user is to find, d_r = 1 / log2(r + 1):

    nDCG = Σ h_r d_r / Σ_(r ≤ min(n, k)) d_r     recall = Σ h_r / n     precision = Σ h_r / k
    AP = Σ h_r (hits up to r / r) / n            RR = 1 / the first hit's place      hit rate = 1 if any hit

Relevance is binary (Järvelin, Kekäläinen, ACM TOIS 20(4), 2002, with gain 1), as trec_eval, LensKit and ranx
have them; the tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats

Lists = NDArray[np.int64]
Numbers = NDArray[np.float64]


def rankings(scores: Floats, seen: csr_matrix, k: int) -> Lists:
    """Return (B, k) the columns of the highest scores, best first, without those in `seen` (B, items).

    Where fewer than k are left the list ends with -1.
    """
    masked = np.array(scores, np.float32)
    masked[seen.nonzero()] = -np.inf
    k_here = min(k, masked.shape[1])
    chosen = np.argpartition(-masked, k_here - 1, axis=1)[:, :k_here]
    values = np.take_along_axis(masked, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    lists = np.take_along_axis(chosen, order, axis=1)
    lists[np.isneginf(np.take_along_axis(values, order, axis=1))] = -1
    return np.pad(lists, ((0, 0), (0, k - k_here)), constant_values=-1)


def ranking_metrics(lists: Lists, test: csr_matrix) -> dict[str, Numbers]:
    """Return each metric (B,) of B lists, for B users of whom each has something to find."""
    k = lists.shape[1]
    hits = _hits(lists, test)
    relevant = np.diff(test.indptr)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    found = hits.sum(axis=1)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    first = np.where(found > 0, hits.argmax(axis=1) + 1, np.inf)
    return {
        f"ndcg@{k}": (hits * discounts).sum(axis=1) / ideal,
        f"recall@{k}": found / relevant,
        f"precision@{k}": found / k,
        f"map@{k}": (hits * precisions).sum(axis=1) / relevant,
        f"mrr@{k}": 1 / first,
        f"hit_rate@{k}": (found > 0).astype(float),
    }


def list_metrics(lists: Lists, train: csr_matrix) -> dict[str, Numbers]:
    """Return what lists are like: novelty and diversity (B,), whatever they hit.

    novelty: the mean of -log2 of the share of users who have the item (Vargas, Castells, RecSys 2011), an
    item that nobody has counted as had by one; diversity: 1 less the mean cosine of two of the list's items
    by their users (Ziegler et al., WWW 2005).
    """
    k = lists.shape[1]
    users = max(train.shape[0], 1)
    popularity = np.bincount(train.indices, minlength=train.shape[1])
    surprise = np.append(-np.log2(np.maximum(popularity, 1) / users), 0.0)
    present = lists >= 0
    places = np.maximum(present.sum(axis=1), 1)
    likeness = _mean_cosines(lists, train)
    return {
        f"novelty@{k}": (surprise[lists] * present).sum(axis=1) / places,
        f"diversity@{k}": 1 - likeness,
    }


def coverage(lists: Lists, items: int) -> float:
    """Return the share of all items that is in any of the lists."""
    return len(np.unique(lists[lists >= 0])) / max(items, 1)


def error_metrics(expected: Floats, given: Floats) -> Mapping[str, float]:
    """Return root mean square and mean absolute error of expected values."""
    errors = np.asarray(expected, np.float64) - given
    return {"rmse": float(np.sqrt(np.mean(errors**2))), "mae": float(np.mean(np.abs(errors)))}


def _hits(lists: Lists, test: csr_matrix) -> NDArray[np.bool_]:
    wanted = np.asarray(test.toarray() > 0)
    found = np.take_along_axis(wanted, np.maximum(lists, 0), axis=1) & (lists >= 0)
    return np.asarray(found)


def _mean_cosines(lists: Lists, train: csr_matrix) -> Numbers:
    """Return (B,) the mean cosine of two different items of each list; the sum of all pairs is |Σ x|² - k."""
    ones = csr_matrix((np.ones(train.nnz), train.indices, train.indptr), shape=train.shape)
    lengths = np.sqrt(np.asarray(ones.sum(axis=0)).ravel())
    directions = ones.multiply(1 / np.maximum(lengths, 1)).tocsc()
    rows, places = np.nonzero(lists >= 0)
    shape = (len(lists), train.shape[1])
    chosen = csr_matrix((np.ones(len(rows)), (rows, lists[rows, places])), shape=shape)
    total = chosen @ directions.T
    squares = np.asarray(total.multiply(total).sum(axis=1)).ravel()
    known = np.asarray((chosen @ (lengths > 0)).ravel())
    counts = (lists >= 0).sum(axis=1)
    return np.asarray((squares - known) / np.maximum(counts * (counts - 1), 1))
