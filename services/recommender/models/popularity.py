"""Popularity: how much an item is used, with what is old counting less.

    p_j = Σ_u x_uj 2^(-(now - t_uj) / half-life)

The oldest baseline, and what personal recommendations must beat. `now` is the latest event's time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.model import Arrays, Config, Reads


@dataclass(frozen=True)
class Ranking:
    """The same scores for everybody."""

    ranking: Floats
    """(items,) float32."""
    config: Config
    name: ClassVar[str] = "popularity"
    reads: ClassVar[Reads] = "preference"

    @property
    def items(self) -> int:
        """How many columns there are."""
        return len(self.ranking)

    def scores(self, histories: csr_matrix) -> Floats:
        """Return (B, items), equal rows that share memory: read only."""
        return np.broadcast_to(self.ranking, (histories.shape[0], self.items))

    def contributions(self, _history: csr_matrix, _column: int, /) -> list[tuple[int, float]]:
        """Return nothing: no history has a part in it."""
        return []

    def similar(self, _column: int, /) -> Floats:
        """Return the ranking: it knows no likeness."""
        return self.ranking

    def vectors(self) -> None:
        """Return None: there are none."""

    def fold(self, _histories: csr_matrix, /) -> None:
        """Return None: there are no vectors."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the ranking."""
        return {"ranking": self.ranking}


@dataclass(frozen=True)
class Popularity:
    """How fast an event is forgotten."""

    name: ClassVar[str] = "popularity"

    half_life_s: float = 0.0
    """Seconds after which an event counts half; 0: it always counts."""

    def __post_init__(self) -> None:
        check("half_life_s", self.half_life_s, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> Ranking:
        """Return the model; interactions without times are all as old."""
        interactions = data.interactions
        counted = interactions.matrix.data
        if self.half_life_s and len(interactions.times):
            ages = interactions.times.max() - interactions.times
            counted = counted * np.exp2(-ages / self.half_life_s)
        ranking = np.bincount(interactions.matrix.indices, weights=counted, minlength=data.columns)
        return Ranking(ranking.astype(np.float32), self.config())


def restore_popularity(config: Config, arrays: Arrays) -> Ranking:
    """Return the model that `arrays` and `config` describe."""
    return Ranking(np.asarray(arrays["ranking"], np.float32), config)
