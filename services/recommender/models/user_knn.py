"""User-kNN: a user is told what the nearest users had.

    s_uv = h_u·x_v / (|h_u| |x_v| + shrinkage),   scores_u = Σ_v s_uv x_v over the k nearest v

Herlocker, Konstan, Borchers, Riedl, "An algorithmic framework for performing collaborative filtering" (SIGIR
1999). The training users' histories are the model, so it holds their data; erasing one of them asks for
another version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.blocks import blocks, largest
from services.recommender.models.checks import check
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class UserNeighbours:
    """The histories of those who were there at training, and who is near whom."""

    matrix: csr_matrix
    """(users, items) float32."""
    user_ids: Sequence[str]
    neighbours_count: int
    shrinkage: float
    name: ClassVar[str] = "user_knn"
    reads: Reads = field(default="preference", init=False)

    @property
    def items(self) -> int:
        """How many columns there are."""
        return int(self.matrix.shape[1])

    @property
    def config(self) -> Config:
        """The hyper-parameters."""
        return {"neighbours": self.neighbours_count, "shrinkage": self.shrinkage}

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items): what the nearest users had, by their nearness."""
        found = np.empty((histories.shape[0], self.items), np.float32)
        for part in blocks(histories.shape[0], self.matrix.shape[0]):
            nearest = largest(self._similarities(histories[part]), self.neighbours_count)
            found[part] = (csr_matrix(nearest) @ self.matrix).toarray()
        return found

    def neighbours(self, histories: csr_matrix, k: int) -> list[list[tuple[str, float]]]:
        """Return up to `k` (user id, similarity) for each history, best first; above 0 only."""
        similarities = self._similarities(histories)
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return [
            [(self.user_ids[each], float(row[each])) for each in best if row[each] > 0]
            for row, best in zip(similarities, order, strict=True)
        ]

    def contributions(self, _history: csr_matrix, _column: int, /) -> list[tuple[int, float]]:
        """Return nothing: it is users who speak for an item, and they are not named to others."""
        return []

    def similar(self, column: int) -> Floats:
        """Return the cosine of the users of each item with those of `column`."""
        shared = (self.matrix[:, [column]].T @ self.matrix).toarray().ravel()
        lengths = np.sqrt(np.asarray(self.matrix.multiply(self.matrix).sum(axis=0)).ravel())
        return np.asarray(shared / np.maximum(lengths * lengths[column], 1e-12), np.float32)

    def vectors(self) -> None:
        """Return None: there are none."""

    def fold(self, _histories: csr_matrix, /) -> None:
        """Return None: there are no vectors."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the histories and, as UTF-8 bytes of a JSON list, whose they are."""
        ids = np.frombuffer(json.dumps(list(self.user_ids)).encode(), np.uint8)
        return {
            "data": self.matrix.data,
            "columns": self.matrix.indices,
            "ends": self.matrix.indptr,
            "user_ids": ids,
            "items": np.array([self.items], np.int64),
        }

    @cached_property
    def _lengths(self) -> Floats:
        return np.sqrt(np.asarray(self.matrix.multiply(self.matrix).sum(axis=1), np.float32).ravel())

    def _similarities(self, histories: csr_matrix) -> Floats:
        shared = (histories @ self.matrix.T).toarray()
        own = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=1), np.float32))
        bounds = own.reshape(-1, 1) * self._lengths[None, :] + self.shrinkage
        return np.asarray(shared / np.maximum(bounds, 1e-12), np.float32)


@dataclass(frozen=True)
class UserKnn:
    """How many users speak, and what holds short histories' similarities down."""

    name: ClassVar[str] = "user_knn"

    neighbours: int = 100
    shrinkage: float = 10.0

    def __post_init__(self) -> None:
        check("neighbours", self.neighbours, least=1)
        check("shrinkage", self.shrinkage, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> UserNeighbours:
        """Return the model; a history that was there at training is its own nearest neighbour."""
        matrix = data.interactions.matrix
        ids = data.interactions.user_ids or [str(each) for each in range(matrix.shape[0])]
        return UserNeighbours(matrix, ids, self.neighbours, self.shrinkage)


def restore_user_knn(config: Config, arrays: Arrays) -> UserNeighbours:
    """Return the model that `arrays` and `config` describe."""
    ids = json.loads(arrays["user_ids"].tobytes().decode())
    shape = (len(ids), int(arrays["items"][0]))
    matrix = csr_matrix((arrays["data"], arrays["columns"], arrays["ends"]), shape=shape)
    hyper = UserKnn(**config)  # type: ignore[arg-type]  # what JSON held is checked at birth
    return UserNeighbours(matrix, ids, hyper.neighbours, hyper.shrinkage)
