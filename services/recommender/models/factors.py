"""Models of vectors: items have some, and a user's is found from the history as it stands.

    w = argmin Σ_h c_i (1 - w·v_i)² + alpha Σ_all (w·v_j)² + lambda (n + alpha |I|)^nu |w|²

over the history h of n items with weights c: Hu, Koren, Volinsky, "Collaborative filtering for implicit
feedback datasets" (ICDM 2008), with the regularisation scaled by frequency of Rendle, Krichene, Zhang, Koren,
"Revisiting the performance of iALS on item recommendation benchmarks" (RecSys 2022).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.least_squares import positive, solve_rows
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class Fold:
    """How a user is found: alpha, lambda and nu of the equation."""

    alpha: float = 0.1
    regularisation: float = 0.02
    exponent: float = 1.0

    def ridge(self, counts: NDArray[np.signedinteger], others: int) -> Floats:
        """Return lambda (n + alpha others)^nu for rows with `counts` entries."""
        scaled = self.regularisation * (counts + self.alpha * others) ** self.exponent
        return np.asarray(scaled, np.float32)

    def solve(self, rows: csr_matrix, vectors: Floats) -> Floats:
        """Return (B, d) the vectors of rows with weights over those of `vectors`."""
        gram = self.alpha * (vectors.T @ vectors)
        return solve_rows(rows, vectors, gram, self.ridge(np.diff(rows.indptr), len(vectors)))


@dataclass(frozen=True)
class Factors:
    """Scores are dot products of a folded-in user with the items' vectors."""

    name: str
    factors: Floats
    """(items, d) float32."""
    folding: Fold = field(default_factory=Fold)
    config: Config = field(default_factory=dict)

    @property
    def items(self) -> int:
        """How many columns there are."""
        return len(self.factors)

    @property
    def reads(self) -> Reads:
        """A history's weights are preferences; those below 0 say nothing here."""
        return "preference"

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items) scores."""
        return self.fold(histories) @ self.factors.T

    def contributions(self, history: csr_matrix, column: int) -> list[tuple[int, float]]:
        """Return the share of each column of the history, largest first; they add up to the score.

        A folded-in user is a weighted sum over the history's items: v_jᵀ A⁻¹ c_i v_i is what item i gives
        (Hu, Koren, Volinsky 2008, section 5).
        """
        rows = positive(history)
        chosen = self.factors[rows.indices]
        system = self._gram + (chosen.T * rows.data) @ chosen
        system.flat[:: system.shape[0] + 1] += self.folding.ridge(np.diff(rows.indptr), self.items)
        shares = np.linalg.solve(system, self.factors[column]) @ (chosen.T * rows.data)
        return [(int(rows.indices[each]), float(shares[each])) for each in np.argsort(-shares, kind="stable")]

    def similar(self, column: int) -> Floats:
        """Return the cosine of each item's vector with that of `column`."""
        return np.asarray(self._directions @ self._directions[column], np.float32)

    def vectors(self) -> Floats:
        """Return (items, d)."""
        return self.factors

    def fold(self, histories: csr_matrix) -> Floats:
        """Return (B, d) users."""
        rows = positive(histories)
        ridge = self.folding.ridge(np.diff(rows.indptr), self.items)
        return solve_rows(rows, self.factors, self._gram, ridge)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the items' vectors, and alpha, lambda and nu; no user is in them."""
        return {"factors": self.factors, "folding": np.array(astuple(self.folding))}

    @cached_property
    def _gram(self) -> Floats:
        return (self.folding.alpha * (self.factors.T @ self.factors)).astype(np.float32)

    @cached_property
    def _directions(self) -> Floats:
        lengths = np.linalg.norm(self.factors, axis=1, keepdims=True)
        return cast("Floats", self.factors / np.maximum(lengths, 1e-12))


def restore_factors(name: str, config: Config, arrays: Arrays) -> Factors:
    """Return the model that `arrays` and `config` describe."""
    alpha, regularisation, exponent = (float(each) for each in np.asarray(arrays["folding"], np.float64))
    return Factors(
        name, np.asarray(arrays["factors"], np.float32), Fold(alpha, regularisation, exponent), config
    )
