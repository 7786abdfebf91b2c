"""Content: items are alike by what is said of them, so that an item nobody has used can be recommended.

    x_jf = (1 + ln n_jf) ln(1 + N / (1 + d_f)),  rows of length 1;   scores = (h X) Xᵀ + (h E) Eᵀ

n counts a feature in an item, d its items of N (TF-IDF: Salton, Buckley, "Term-weighting approaches in
automatic text retrieval", 1988); E are embeddings that came with the items, rows of length 1, if any did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, vstack

from services.recommender.entities import Floats, Item
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.features import BUCKETS, features, hashed
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class Described:
    """Items as rows of features and of embeddings."""

    rows: csr_matrix
    """(items, BUCKETS) float32, TF-IDF, each of length 1 or 0."""
    embeddings: Floats
    """(items, d) float32, each of length 1 or 0; d is 0 where none came."""
    idf: Floats
    """(BUCKETS,) float32."""
    name: ClassVar[str] = "content"
    reads: ClassVar[Reads] = "preference"
    config: ClassVar[Config] = {}

    @property
    def items(self) -> int:
        """How many columns there are."""
        return int(self.rows.shape[0])

    def extended(self, items: Sequence[Item]) -> Described:
        """Return the same with more columns, for items that came since; the weights of features stay."""
        rows = vstack([self.rows, _unit_rows(_weighted(items, self.idf))]).tocsr()
        more = _embeddings(items, self.embeddings.shape[1])
        return Described(rows, np.concatenate([self.embeddings, more]), self.idf)

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items): how like each item is to the weighted sum of the history's."""
        by_words = ((histories @ self.rows) @ self._columns).toarray()
        by_embedding = (histories @ self.embeddings) @ self.embeddings.T
        return np.asarray(by_words + by_embedding, np.float32)

    def contributions(self, history: csr_matrix, column: int) -> list[tuple[int, float]]:
        """Return the share of each column of the history, largest first; they add up to the score."""
        shares = self.similar(column)[history.indices] * history.data
        order = np.argsort(-shares, kind="stable")
        return [(int(history.indices[each]), float(shares[each])) for each in order if shares[each]]

    def similar(self, column: int) -> Floats:
        """Return the cosine of each item with `column`, by features plus by embedding."""
        by_words = (self.rows[[column]] @ self._columns).toarray().ravel()
        return np.asarray(by_words + self.embeddings @ self.embeddings[column], np.float32)

    def matched(self, one: Item, other: Item) -> list[tuple[str, float]]:
        """Return the features that both items have with their weight, the weightiest first."""
        shared = features(one).keys() & features(other).keys()
        weights = {name: float(self.idf[hashed([{name: 1}]).indices[0]]) for name in shared}
        return sorted(weights.items(), key=lambda each: (-each[1], each[0]))

    def vectors(self) -> None:
        """Return None: the rows are too wide to be held dense."""

    def fold(self, _histories: csr_matrix, /) -> None:
        """Return None: there are no vectors."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the rows, the embeddings and the features' weights."""
        rows = {"data": self.rows.data, "columns": self.rows.indices, "ends": self.rows.indptr}
        return {**rows, "embeddings": self.embeddings, "idf": self.idf}

    @cached_property
    def _columns(self) -> csr_matrix:
        """(BUCKETS, items): by feature, so that only the features of a history are looked at."""
        return self.rows.T.tocsr()


@dataclass(frozen=True)
class Content:
    """There is nothing to set."""

    name: ClassVar[str] = "content"

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return {}

    def fit(self, data: TrainingData) -> Described:
        """Return the model; items of which nothing is said are like none."""
        items = data.items or [Item(item_id) for item_id in data.interactions.item_ids]
        counts = hashed([features(item) for item in items])
        spread = np.bincount(counts.indices, minlength=BUCKETS)
        idf = np.log1p(len(items) / (1 + spread)).astype(np.float32)
        width = max((len(item.embedding) for item in items), default=0)
        return Described(_unit_rows(counts @ diags(idf)), _embeddings(items, width), idf)


def restore_content(_config: Config, arrays: Arrays) -> Described:
    """Return the model that `arrays` describe."""
    shape = (len(arrays["ends"]) - 1, BUCKETS)
    rows = csr_matrix((arrays["data"], arrays["columns"], arrays["ends"]), shape=shape)
    embeddings, idf = (np.asarray(arrays[key], np.float32) for key in ("embeddings", "idf"))
    return Described(rows, embeddings, idf)


def _weighted(items: Sequence[Item], idf: Floats) -> csr_matrix:
    return hashed([features(item) for item in items]) @ diags(idf)


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(lengths, 1e-12)) @ matrix, dtype=np.float32)


def _embeddings(items: Sequence[Item], width: int) -> Floats:
    """Return (items, width) of length 1; what has another width says nothing."""
    rows = np.zeros((len(items), width), np.float32)
    for row, item in enumerate(items):
        if width and len(item.embedding) == width:
            rows[row] = np.asarray(item.embedding) / max(float(np.linalg.norm(item.embedding)), 1e-12)
    return rows
