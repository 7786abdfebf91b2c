"""A recipe: which algorithms a version is trained with, and what each one's word counts in their blend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.recommender.models.algorithm import Algorithm, TrainingData
from services.recommender.models.biased_mf import BiasedMf
from services.recommender.models.content import Content
from services.recommender.models.ease import Ease
from services.recommender.models.ials import Ials
from services.recommender.models.model import Model
from services.recommender.models.transitions import Transitions


@dataclass(frozen=True)
class Recipe:
    """Algorithms of different kinds."""

    algorithms: tuple[Algorithm, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    """By name, in the blend; one without is trained for other purposes. Empty: all count alike."""

    def __post_init__(self) -> None:
        names = [algorithm.name for algorithm in self.algorithms]
        if not names or len(set(names)) != len(names) or not self.weights.keys() <= set(names):
            raise ValueError("a recipe has algorithms, each once, and weighs no others")

    @property
    def blend(self) -> Mapping[str, float]:
        """What counts in the blend, by name."""
        return self.weights or {algorithm.name: 1.0 for algorithm in self.algorithms}

    def fit(self, data: TrainingData) -> dict[str, Model]:
        """Return the models by name; raises FailedPrecondition (TRAINING_FAILED)."""
        return {algorithm.name: algorithm.fit(data) for algorithm in self.algorithms}


BLEND = Recipe((Ease(), Ials(), Transitions()), {"ease": 0.42, "ials": 0.55, "transitions": 0.03})
"""What serves by default, chosen on validation parts: see benchmarks/recommender_quality.md."""

DEFAULT = Recipe((*BLEND.algorithms, Content(), BiasedMf()), BLEND.weights)
"""What is trained by default: the blend, content for new items, and values for PredictRating."""
