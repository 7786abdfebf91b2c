"""Splits: what is trained on, which histories are asked with, and what they are to find."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Interactions
from services.recommender.models.sittings import users_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """One division of interactions."""

    train: Interactions
    histories: Interactions
    """Of those who are asked about, a row each; the training part itself but in `strong`."""
    test: csr_matrix
    """(rows of histories, items), above 0 what is to be found."""


def random(interactions: Interactions, share: float, seed: int) -> Split:
    """Hold back a share of each user's interactions, drawn by chance and rounded to whole ones."""
    return _divided(interactions, _drawn(interactions, share, np.random.default_rng(seed)))


def temporal(interactions: Interactions, share: float) -> Split:
    """Hold back the newest share of all interactions; who has none before is not asked about."""
    held = np.zeros(interactions.matrix.nnz, bool)
    newest = np.lexsort((interactions.matrix.indices, _times(interactions)))
    held[newest[len(held) - round(share * len(held)) :]] = True
    return _divided(interactions, held)


def leave_last_out(interactions: Interactions) -> Split:
    """Hold back each user's last interaction; of equal times, the one of the greatest item id.

    Who has one alone keeps it, and is not asked about.
    """
    matrix = interactions.matrix
    ranks = np.argsort(np.argsort(np.array(interactions.item_ids, dtype=str), kind="stable"))
    users = users_of(matrix)
    order = np.lexsort((ranks[matrix.indices], _times(interactions), users))
    held = np.zeros(matrix.nnz, bool)
    lasts = matrix.indptr[1:][np.diff(matrix.indptr) > 1] - 1
    held[order[lasts]] = True
    return _divided(interactions, held)


def strong(interactions: Interactions, share: float, seed: int) -> Split:
    """Train without a share of the users, and hold back the same share of what those have."""
    generator = np.random.default_rng(seed)
    users = interactions.matrix.shape[0]
    unseen = np.zeros(users, bool)
    unseen[generator.permutation(users)[: round(share * users)]] = True
    theirs = of_users(interactions, unseen)
    divided = _divided(theirs, _drawn(theirs, share, generator))
    return replace(divided, train=of_users(interactions, ~unseen))


def kept(interactions: Interactions, mask: Mask) -> Interactions:
    """Return the interactions with the entries of `mask` (nnz,) alone; users and items stay."""
    matrix = interactions.matrix
    ends = np.concatenate([[0], np.cumsum(mask)])[matrix.indptr]
    some = csr_matrix((matrix.data[mask], matrix.indices[mask], ends), shape=matrix.shape)
    times = interactions.times[mask] if len(interactions.times) else interactions.times
    return replace(interactions, matrix=some, times=times)


def of_users(interactions: Interactions, mask: Mask) -> Interactions:
    """Return the interactions of the users of `mask` (users,) alone, who keep their order."""
    entries = mask[users_of(interactions.matrix)]
    times = interactions.times[entries] if len(interactions.times) else interactions.times
    ids = [each for each, wanted in zip(interactions.user_ids, mask, strict=False) if wanted]
    return replace(interactions, matrix=interactions.matrix[mask], times=times, user_ids=ids)


def _divided(interactions: Interactions, held: Mask) -> Split:
    train = kept(interactions, ~held)
    return Split(train, train, kept(interactions, held).matrix)


def _drawn(interactions: Interactions, share: float, generator: np.random.Generator) -> Mask:
    """Return (nnz,) which entries are the `share` of each user's that chance held back."""
    matrix = interactions.matrix
    users = users_of(matrix)
    order = np.lexsort((generator.random(matrix.nnz), users))
    counts = np.diff(matrix.indptr)
    places = np.arange(matrix.nnz) - matrix.indptr[users]
    held = np.zeros(matrix.nnz, bool)
    held[order] = places < np.rint(share * counts)[users]
    return held


def _times(interactions: Interactions) -> NDArray[np.float64]:
    return interactions.times if len(interactions.times) else np.zeros(interactions.matrix.nnz)
