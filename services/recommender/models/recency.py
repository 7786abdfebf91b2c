"""Histories in which the latest events count most."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats, Interactions
from services.recommender.models.sittings import in_order, places, users_of

DECAY = 0.8
"""What an event's weight is multiplied with for each later one."""


def recency(events: int, decay: float = DECAY, floor: float = 0.0) -> Floats:
    """Return (events,) float32 factors, oldest first: 1 for the latest, never below `floor`."""
    ages = np.arange(events - 1, -1, -1)
    return (floor + (1 - floor) * decay**ages).astype(np.float32)


def recent(interactions: Interactions, decay: float = DECAY, floor: float = 0.0) -> csr_matrix:
    """Return (users, items) the weights times `recency` of each user's events."""
    order = in_order(interactions)
    matrix = interactions.matrix
    counts = np.diff(matrix.indptr)[users_of(matrix)[order]]
    ages = counts - 1 - places(interactions, order)
    data = np.empty(matrix.nnz, np.float32)
    data[order] = matrix.data[order] * (floor + (1 - floor) * decay**ages)
    return csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
