"""A model of values: what a folded-in user would give each item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.least_squares import solve_rows
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class Ratings:
    """Several sets of item biases and vectors, whose predictions are averaged.

    A user's bias and vector are the ridge regression of the history's residuals r - m - b_i on (1, q_i), its
    penalties as in training: lambda and mu times the number of ratings. No history: the items' own values.
    """

    name: str
    factors: Floats
    """(members, items, d) float32."""
    biases: Floats
    """(members, items) float32."""
    mean: float
    lowest: float
    highest: float
    config: Config = field(default_factory=dict)

    @property
    def items(self) -> int:
        """How many columns there are."""
        return int(self.factors.shape[1])

    @property
    def reads(self) -> Reads:
        """A history's weights are the values that were given."""
        return "value"

    def ratings(self, histories: csr_matrix) -> Floats:
        """Return (B, items) float32 expected values, from the lowest to the highest that was learned from."""
        expected = self.scores(histories) + np.float32(self.mean)
        return np.asarray(expected.clip(self.lowest, self.highest), np.float32)

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items): expected values less the mean of all, not held within their range."""
        total = np.zeros((histories.shape[0], self.items), np.float32)
        for member in range(len(self.factors)):
            total += self._folded(histories, member) @ self._regressors(member).T + self.biases[member]
        total /= np.float32(len(self.factors))
        return total

    def contributions(self, _history: csr_matrix, _column: int, /) -> list[tuple[int, float]]:
        """Return nothing: a rating's share depends on all others."""
        return []

    def similar(self, column: int) -> Floats:
        """Return the cosine of each item's vectors with those of `column`."""
        flat = np.concatenate(list(self.factors), axis=1)
        lengths = np.linalg.norm(flat, axis=1)
        return np.asarray(flat @ flat[column] / np.maximum(lengths * lengths[column], 1e-12), np.float32)

    def vectors(self) -> Floats:
        """Return (items, members * (1 + d) + 1): the regressors of all members and the biases' mean."""
        regressors = [self._regressors(member) for member in range(len(self.factors))]
        return np.column_stack([*regressors, self.biases.mean(axis=0)]).astype(np.float32)

    def fold(self, histories: csr_matrix) -> Floats:
        """Return (B, members * (1 + d) + 1): each member's numbers over their count, and a 1."""
        members = len(self.factors)
        folded = [self._folded(histories, member) / np.float32(members) for member in range(members)]
        return np.column_stack([*folded, np.ones(histories.shape[0], np.float32)])

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the items' numbers, and mean, lowest and highest value; no user is in them."""
        scale = np.array([self.mean, self.lowest, self.highest], np.float64)
        return {"factors": self.factors, "biases": self.biases, "scale": scale}

    def _folded(self, histories: csr_matrix, member: int) -> Floats:
        residuals = histories.data - np.float32(self.mean) - self.biases[member][histories.indices]
        ones = csr_matrix(
            (np.ones_like(histories.data), histories.indices, histories.indptr), histories.shape
        )
        regressors = self._regressors(member)
        none = np.zeros((regressors.shape[1],) * 2, np.float32)
        counts = np.maximum(np.diff(histories.indptr), 1)
        ridge = (counts * self._penalty("regularisation")).astype(np.float32)
        return solve_rows(ones, regressors, none, ridge, residuals.astype(np.float32))

    def _regressors(self, member: int) -> Floats:
        """Return (items, 1 + d): a constant so large that one penalty serves bias and vector, and q."""
        constant = np.sqrt(self._penalty("regularisation") / self._penalty("bias_regularisation"))
        ones = np.full((self.items, 1), constant, np.float32)
        return np.concatenate([ones, self.factors[member]], axis=1)

    def _penalty(self, which: str) -> float:
        return float(cast("float", self.config[which]))


def restore_ratings(config: Config, arrays: Arrays) -> Ratings:
    """Return the model that `arrays` and `config` describe."""
    factors, biases = (np.asarray(arrays[key], np.float32) for key in ("factors", "biases"))
    mean, lowest, highest = (float(each) for each in np.asarray(arrays["scale"], np.float64))
    return Ratings("biased_mf", factors, biases, mean, lowest, highest, config)
