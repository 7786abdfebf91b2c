"""EASE: the linear model in which every item is told from all others, in closed form.

    P = (XᵀX + λI)⁻¹,   B_ij = -P_ij / P_jj for i ≠ j, 0 on the diagonal,   scores = X B

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019). Where events have times, what was
used within one sitting counts beyond what one user ever used: XᵀX becomes XᵀX + w SᵀS/2, S the sittings.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import spotrf, spotri

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.entities import Floats
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.item_item import ItemItem
from services.recommender.models.model import Config
from services.recommender.models.sittings import sittings

MOST_ITEMS = 20_000


@dataclass(frozen=True)
class Ease:
    """How strongly B is held small, and what a sitting counts."""

    name: ClassVar[str] = "ease"

    regularisation: float = 1200.0
    sitting_events: int = 20
    """Of one sitting; 0 leaves sittings out."""
    sitting_weight: float = 5.0

    def __post_init__(self) -> None:
        check("regularisation", self.regularisation, above=0)
        check("sitting_events", self.sitting_events, least=0)
        check("sitting_weight", self.sitting_weight, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> ItemItem:
        """Return the model; raises FailedPrecondition (TRAINING_FAILED) above MOST_ITEMS columns."""
        _check_size(data.columns)
        return ItemItem(self.name, weights(self._gram(data), self.regularisation), config=self.config())

    def _gram(self, data: TrainingData) -> Floats:
        matrix = data.interactions.matrix
        gram: Floats = (matrix.T @ matrix).toarray().astype(np.float32)
        if self.sitting_events and self.sitting_weight and len(data.interactions.times):
            together = sittings(data.interactions, self.sitting_events)
            gram += self.sitting_weight / 2 * (together.T @ together).toarray()
        return gram


def weights(gram: Floats, regularisation: float) -> Floats:
    """Return B (items, items) float32 for XᵀX, which is used up."""
    gram[np.diag_indices_from(gram)] += regularisation
    # A Cholesky factor and its inverse take half the time of a general inverse.
    factor, failed = spotrf(gram.T, lower=1, overwrite_a=True)
    inverse, singular = spotri(factor, lower=1, overwrite_c=True)
    if failed or singular:
        raise FailedPrecondition(
            Reason.TRAINING_FAILED, "EASE: the items' co-occurrences cannot be inverted."
        )
    full = np.tril(inverse) + np.tril(inverse, -1).T
    result: NDArray[np.float32] = -full / np.diag(full)
    np.fill_diagonal(result, 0.0)
    return np.ascontiguousarray(result)


def _check_size(items: int) -> None:
    if items > MOST_ITEMS:
        gigabytes = 3 * 4 * items**2 / 1e9
        said = f"EASE would hold three matrices of {items:,} by {items:,} numbers, {gigabytes:.1f} GB"
        raise FailedPrecondition(
            Reason.TRAINING_FAILED,
            f"{said}; it is made for up to {MOST_ITEMS:,} items. Take ials or item_knn.",
            metadata={"algorithm": Ease.name, "items": str(items), "limit": str(MOST_ITEMS)},
        )
