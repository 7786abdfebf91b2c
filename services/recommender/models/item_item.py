"""Models that are a matrix of items by items: what having one item says about another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from services.recommender.entities import Floats
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class ItemItem:
    """Scores are `history @ weights`, so that each item of the history has its exact share in them."""

    name: str
    weights: Floats | csr_matrix
    """(items, items) float32, from the history's item (row) to the scored one (column); dense or sparse."""
    reads: Reads = "preference"
    config: Config = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[0] != self.weights.shape[1]:
            raise ValueError("weights must be square")

    @property
    def items(self) -> int:
        """How many columns there are."""
        return int(self.weights.shape[0])

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items) scores."""
        return _dense(histories @ self.weights)

    def contributions(self, history: csr_matrix, column: int) -> list[tuple[int, float]]:
        """Return the share of each column of the history, largest first; they add up to the score."""
        shares = _dense(self.weights[history.indices, column]).ravel() * history.data
        order = np.argsort(-shares, kind="stable")
        return [(int(history.indices[each]), float(shares[each])) for each in order if shares[each]]

    def similar(self, column: int) -> Floats:
        """Return what having `column` says about each item."""
        return _dense(self.weights[[column]]).ravel()

    def vectors(self) -> None:
        """Return None: there are none."""

    def fold(self, _histories: csr_matrix, /) -> None:
        """Return None: there are no vectors."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the weights, in three arrays where they are sparse."""
        if not issparse(self.weights):
            return {"weights": np.ascontiguousarray(self.weights)}
        sparse = csr_matrix(self.weights)
        return {"data": sparse.data, "columns": sparse.indices, "ends": sparse.indptr}


def restored(name: str, reads: Reads) -> Callable[[Config, Arrays], ItemItem]:
    """Return what makes an ItemItem again from its `config` and `arrays`."""

    def restore(config: Config, arrays: Arrays) -> ItemItem:
        if "weights" in arrays:
            return ItemItem(name, np.asarray(arrays["weights"], np.float32), reads, config)
        items = len(arrays["ends"]) - 1
        weights = csr_matrix((arrays["data"], arrays["columns"], arrays["ends"]), shape=(items, items))
        return ItemItem(name, weights, reads, config)

    return restore


def _dense(scores: Floats | csr_matrix) -> Floats:
    return np.asarray(csr_matrix(scores).toarray() if issparse(scores) else scores, np.float32)
