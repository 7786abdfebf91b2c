"""Item-kNN: an item is recommended for its nearest neighbours in the history.

    s_ij = x_i·x_j / (|x_i| |x_j| + h),   the k largest of each j kept,   scores = X S

Sarwar, Karypis, Konstan, Riedl, "Item-based collaborative filtering recommendation algorithms" (WWW 2001);
the shrinkage h as in Ferrari Dacrema, Cremonesi, Jannach (RecSys 2019).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, vstack

from services.recommender.entities import Floats
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.item_item import ItemItem
from services.recommender.models.model import Config

_BLOCK = 1_024
"""Columns whose similarities to all items are in memory at once."""


@dataclass(frozen=True)
class ItemKnn:
    """How many neighbours an item keeps, and what holds rare items' similarities down."""

    name: ClassVar[str] = "item_knn"

    neighbours: int = 100
    shrinkage: float = 10.0

    def __post_init__(self) -> None:
        check("neighbours", self.neighbours, least=1)
        check("shrinkage", self.shrinkage, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> ItemItem:
        """Return the model, sparse: at most `neighbours` weights an item."""
        matrix = data.interactions.matrix
        columns = matrix.T.tocsr()
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0), np.float32).ravel())
        blocks = [self._block(columns, lengths, begin) for begin in range(0, max(data.columns, 1), _BLOCK)]
        return ItemItem(self.name, vstack(blocks).T.tocsr(), config=self.config())

    def _block(self, columns: csr_matrix, lengths: Floats, begin: int) -> csr_matrix:
        """Return (block, items) each item's neighbours."""
        end = begin + _BLOCK
        shared = (columns[begin:end] @ columns.T).toarray()
        bounds = lengths[begin:end, None] * lengths[None, :] + self.shrinkage
        similarities = shared / np.maximum(bounds, 1e-12)
        here = np.arange(len(similarities))
        similarities[here, begin + here] = 0.0
        return csr_matrix(largest(similarities, self.neighbours))


def largest(values: Floats, k: int) -> Floats:
    """Return (rows, columns) the `k` largest of each row, the others 0."""
    if k >= values.shape[1]:
        return values.astype(np.float32)
    kept = np.zeros(values.shape, np.float32)
    chosen = np.argpartition(-values, k - 1, axis=1)[:, :k]
    np.put_along_axis(kept, chosen, np.take_along_axis(values, chosen, axis=1), axis=1)
    return kept
