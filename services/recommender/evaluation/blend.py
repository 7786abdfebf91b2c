"""A blend: models that read the same histories in their own ways, their scores made comparable and added.

Each model's scores of all items become z-scores, user by user, and are added up by weight: what serving does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.model import Model, Reads
from services.recommender.serving.blending import z_scores


@dataclass(frozen=True)
class Blend:
    """Models by name, and what each one's word counts."""

    models: Mapping[str, Model]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.weights or not self.weights.keys() <= self.models.keys():
            raise ValueError("a blend has weights, of models that it has")
        if len({model.items for model in self.models.values()}) != 1:
            raise ValueError("the models of a blend must have the same columns")

    @property
    def reads(self) -> set[Reads]:
        """The ways in which its models want histories."""
        return {self.models[name].reads for name in self.weights}

    def scores(self, histories: Mapping[Reads, csr_matrix]) -> Floats:
        """Return (B, items) for the same B histories in each of the ways that `reads` names."""
        parts = [
            np.float32(weight) * z_scores(self.models[name].scores(histories[self.models[name].reads]))
            for name, weight in self.weights.items()
        ]
        return np.asarray(np.sum(parts, axis=0), np.float32)
