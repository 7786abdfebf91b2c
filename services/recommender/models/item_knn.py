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
from services.recommender.models.blocks import blocks, largest
from services.recommender.models.checks import check
from services.recommender.models.item_item import ItemItem
from services.recommender.models.model import Config


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
        kept = [self._block(columns, lengths, part) for part in blocks(data.columns, data.columns)]
        return ItemItem(self.name, vstack(kept).T.tocsr(), config=self.config())

    def _block(self, columns: csr_matrix, lengths: Floats, part: slice) -> csr_matrix:
        """Return (block, items) each item's neighbours."""
        shared = (columns[part] @ columns.T).toarray()
        bounds = lengths[part, None] * lengths[None, :] + self.shrinkage
        similarities = shared / np.maximum(bounds, 1e-12)
        here = np.arange(len(similarities))
        similarities[here, part.start + here] = 0.0
        return csr_matrix(largest(similarities, self.neighbours))
