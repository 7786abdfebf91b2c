"""Small data with a structure that is known: users of groups, each group with items of its own."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from services.recommender.entities import Interactions, Item
from services.recommender.models.algorithm import TrainingData

GROUPS, USERS_EACH, ITEMS_EACH = 3, 20, 8


def grouped(seed: int = 0) -> TrainingData:
    """Users of group g have most items of group g, and now and then another; each says so in a rating."""
    random = np.random.default_rng(seed)
    group_of_user = np.repeat(np.arange(GROUPS), USERS_EACH)
    group_of_item = np.repeat(np.arange(GROUPS), ITEMS_EACH)
    own = group_of_user[:, None] == group_of_item[None, :]
    has = random.random(own.shape) < np.where(own, 0.7, 0.08)
    ratings = np.where(own, 4.0, 2.0) + random.integers(0, 2, own.shape)
    matrix = csr_matrix(has.astype(np.float32))
    times = random.permutation(matrix.nnz).astype(float)
    values = csr_matrix(
        (ratings[matrix.nonzero()].astype(np.float32), matrix.indices, matrix.indptr), own.shape
    )
    return TrainingData(_interactions(matrix, times), _items(group_of_item), _interactions(values, times))


def history(*columns: int, weight: float = 1.0) -> csr_matrix:
    """One history of those columns."""
    row = np.zeros((1, GROUPS * ITEMS_EACH), np.float32)
    row[0, list(columns)] = weight
    return csr_matrix(row)


def of_group(group: int) -> range:
    """The columns of a group's items."""
    return range(group * ITEMS_EACH, (group + 1) * ITEMS_EACH)


def _interactions(matrix: csr_matrix, times: np.ndarray) -> Interactions:
    users, items = matrix.shape
    ids = [f"item-{each:02}" for each in range(items)]
    return Interactions(
        matrix, ids, np.arange(items, dtype=np.int32), [f"user-{each}" for each in range(users)], times
    )


def _items(groups: np.ndarray) -> list[Item]:
    words = ("space rockets and stars", "love songs in spring", "war on the eastern front")
    return [
        Item(f"item-{each:02}", (f"genre-{group}",), text=words[group]) for each, group in enumerate(groups)
    ]
