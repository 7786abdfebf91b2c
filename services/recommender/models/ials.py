"""iALS: implicit alternating least squares with regularisation scaled by frequency.

Users and items are solved for in turns by the equation in `factors`: Hu, Koren, Volinsky (ICDM 2008); Rendle,
Krichene, Zhang, Koren (RecSys 2022), who show that lambda (n + alpha m)^nu with nu near 1 and a well-chosen
lambda, and a start of standard deviation s/√d, are what the method's quality hangs on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.factors import Factors, Fold
from services.recommender.models.least_squares import positive
from services.recommender.models.model import Config


@dataclass(frozen=True)
class Ials:
    """The equation's alpha, lambda and nu, and how far the search for the vectors goes."""

    name: ClassVar[str] = "ials"

    factors: int = 64
    regularisation: float = 0.02
    alpha: float = 0.1
    exponent: float = 1.0
    iterations: int = 6
    start: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("factors", "iterations"):
            check(field, getattr(self, field), least=1)
        for field in ("regularisation", "alpha", "start"):
            check(field, getattr(self, field), above=0)
        check("exponent", self.exponent, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> Factors:
        """Return the model: the items' vectors, and how users are folded in."""
        users = positive(data.interactions.matrix)
        items = users.T.tocsr()
        folding = Fold(self.alpha, self.regularisation, self.exponent)
        size = (data.columns, self.factors)
        random = np.random.default_rng(self.seed)
        vectors = (random.standard_normal(size) * self.start / np.sqrt(self.factors)).astype(np.float32)
        for _ in range(self.iterations):
            vectors = folding.solve(items, folding.solve(users, vectors))
        return Factors(self.name, vectors, folding, self.config())
