"""What was used together: a user's events in order of time, cut into sittings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Interactions

Order = NDArray[np.int64]


def users_of(matrix: csr_matrix) -> Order:
    """Return (nnz,) the row of each entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def in_order(interactions: Interactions) -> Order:
    """Return (nnz,) the entries by user, then time, oldest first; equal times by column.

    Interactions without times are in order of columns.
    """
    matrix = interactions.matrix
    times = interactions.times if len(interactions.times) else np.zeros(matrix.nnz)
    return np.lexsort((matrix.indices, times, users_of(matrix)))


def places(interactions: Interactions, order: Order) -> Order:
    """Return (nnz,) how many events of the same user come before each one of `order`."""
    users = users_of(interactions.matrix)[order]
    before: Order = np.arange(len(order)) - interactions.matrix.indptr[users]
    return before


def sittings(interactions: Interactions, events: int) -> csr_matrix:
    """Return (sittings, items) ones: each user's sequence cut after every `events`, twice, half a cut apart.

    Two cuts, since what lies at the edge of one sitting lies in the middle of another.
    """
    order = in_order(interactions)
    users, place = users_of(interactions.matrix)[order], places(interactions, order)
    cuts = [users * (1 << 32) + (place + shift) // events for shift in (0, events // 2)]
    cuts[1] += 1 << 31
    rows = np.unique(np.concatenate(cuts), return_inverse=True)[1]
    columns = np.tile(interactions.matrix.indices[order], 2)
    shape = (int(rows.max(initial=-1)) + 1, interactions.matrix.shape[1])
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
