"""Transitions: what follows what, for sessions and for the next step of a known user.

    m_ij = Σ e^(-(d-1)/r) over the pairs in which j came d events after i in one user's sequence,
           and b times that where j came before i
    t_ij = m_ij / ((n_i + s) (n_j + s)^p),   the k largest of each i kept

n counts an item's events, s shrinks rare ones, p holds popular followers down. A first-order Markov chain
(Shani, Heckerman, Brafman, JMLR 2005) whose steps reach further than one event, as in the session rules of
Ludewig and Jannach (UMUAI 2018). It reads histories in which the latest event counts most.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, vstack

from services.recommender.models.algorithm import TrainingData
from services.recommender.models.blocks import blocks, largest
from services.recommender.models.checks import check
from services.recommender.models.item_item import ItemItem
from services.recommender.models.model import Config
from services.recommender.models.sittings import in_order, users_of


@dataclass(frozen=True)
class Transitions:
    """How far a step reaches, and what is held down."""

    name: ClassVar[str] = "transitions"

    reach: float = 3.0
    """Events: r above; pairs further apart than four times that are left out."""
    backward: float = 0.3
    popularity: float = 0.3
    shrinkage: float = 10.0
    neighbours: int = 500

    def __post_init__(self) -> None:
        check("reach", self.reach, above=0)
        check("neighbours", self.neighbours, least=1)
        for field in ("backward", "popularity", "shrinkage"):
            check(field, getattr(self, field), least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> ItemItem:
        """Return the model, sparse; interactions without times are taken in order of columns."""
        order = in_order(data.interactions)
        users = users_of(data.interactions.matrix)[order]
        columns = data.interactions.matrix.indices[order]
        counts = np.bincount(columns, minlength=data.columns) + self.shrinkage
        steps = self._steps(users, columns, data.columns)
        scaled = steps.multiply(1 / np.maximum(counts, 1)[:, None]).tocsr()
        scaled = scaled.multiply(1 / np.maximum(counts, 1)[None, :] ** self.popularity).tocsr()
        return ItemItem(self.name, self._nearest(scaled.astype(np.float32)), "recency", self.config())

    def _steps(self, users: np.ndarray, columns: np.ndarray, items: int) -> csr_matrix:
        total = csr_matrix((items, items), dtype=np.float64)
        for distance in range(1, max(2, round(4 * self.reach) + 1)):
            same = users[:-distance] == users[distance:]
            before, after = columns[:-distance][same], columns[distance:][same]
            weights = np.full(len(before), np.exp(-(distance - 1) / self.reach))
            step = coo_matrix((weights, (before, after)), shape=(items, items)).tocsr()
            total = total + step + self.backward * step.T
        return total

    def _nearest(self, steps: csr_matrix) -> csr_matrix:
        parts = blocks(*steps.shape)
        kept = [csr_matrix(largest(steps[part].toarray(), self.neighbours)) for part in parts]
        return vstack(kept).tocsr()
