"""Tuning: hyper-parameters and weights chosen on a validation part, held back from the training part.

A bounded search, one thing at a time: each algorithm's settings from a short list, then each weight. The
validation part is made as the test part is, so what is chosen suits the protocol; the test part is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from services.recommender.entities import Floats
from services.recommender.evaluation.blend import Blend
from services.recommender.evaluation.evaluation import histories, value_errors, valuer
from services.recommender.evaluation.metrics import ranking_metrics, rankings
from services.recommender.evaluation.protocols import RankingProtocol, RatingProtocol
from services.recommender.evaluation.splits import Split, kept
from services.recommender.models.algorithm import Algorithm, TrainingData
from services.recommender.models.kinds import algorithm
from services.recommender.models.recipe import Recipe

SEED_OF_VALIDATION = 1_000
"""Added to a run's seed for its validation part."""
USERS = 2_000
"""At most so many are asked about: beyond, their number adds time but no certainty."""

GRID: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "ease": tuple(
        {"regularisation": l2, "sitting_weight": weight} for l2 in (300, 700, 1200) for weight in (0, 2, 5)
    ),
    "ials": tuple({"regularisation": value} for value in (0.012, 0.016, 0.02, 0.03)),
    "item_knn": tuple(
        {"neighbours": k, "shrinkage": shrinkage} for k in (50, 100, 300) for shrinkage in (0, 10, 50)
    ),
    "user_knn": tuple(
        {"neighbours": k, "shrinkage": shrinkage} for k in (50, 100, 200) for shrinkage in (0, 10, 50)
    ),
    "transitions": tuple(
        {"reach": reach, "popularity": power} for reach in (1, 3, 8) for power in (0.1, 0.4)
    ),
    "biased_mf": tuple({"regularisation": value} for value in (0.06, 0.08, 0.1)),
}
FACTORS = (0.0, 0.3, 0.6, 1.0, 1.6, 3.0)
"""What a weight is multiplied with, to see whether that is better."""


def tuner(
    protocol: RankingProtocol | RatingProtocol, k: int
) -> Callable[[TrainingData, Recipe, int], Recipe]:
    """Return what chooses a recipe's settings for that protocol from a training part."""
    if isinstance(protocol, RatingProtocol):
        return lambda data, recipe, seed: _tuned_for_values(data, recipe, protocol.folds, seed)

    def tuned(data: TrainingData, recipe: Recipe, seed: int) -> Recipe:
        split = protocol.split(data.interactions, seed + SEED_OF_VALIDATION)
        return _Search(TrainingData(split.train, data.items), split, k).tuned(recipe)

    return tuned


@dataclass
class _Search:
    """A validation part, and the scores that were computed for it."""

    data: TrainingData
    split: Split
    k: int
    _scores: dict[Algorithm, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = [np.diff(matrix.indptr) for matrix in (self.split.test, self.split.histories.matrix)]
        self._asked = np.flatnonzero((counts[0] > 0) & (counts[1] > 0))[:USERS]

    def tuned(self, recipe: Recipe) -> Recipe:
        """Return the best recipe found on the way."""
        best = Recipe(recipe.algorithms, dict(recipe.blend))
        for each in recipe.algorithms:
            best = max([best, *_variants(best, each.name)], key=self.value)
        if len(recipe.algorithms) > 1:
            for _ in range(2):
                for name in recipe.blend:
                    best = max([best, *_reweighted(best, name)], key=self.value)
        return best

    def value(self, recipe: Recipe) -> float:
        """Return nDCG@k plus recall@k of the recipe's blend on the validation part."""
        scores = sum(
            np.float32(recipe.blend[each.name]) * self._of(each)
            for each in recipe.algorithms
            if recipe.blend.get(each.name)
        )
        lists = rankings(np.asarray(scores), self.split.histories.matrix[self._asked], self.k)
        found = ranking_metrics(lists, self.split.test[self._asked])
        return float(found[f"ndcg@{self.k}"].mean() + found[f"recall@{self.k}"].mean())

    def _of(self, each: Algorithm) -> Floats:
        """Return (asked, items) z-scores, computed once for the same settings."""
        if each not in self._scores:
            blend = Blend({each.name: each.fit(self.data)}, {each.name: 1.0})
            read = histories(self.split.histories, blend.reads)
            self._scores[each] = blend.scores({way: matrix[self._asked] for way, matrix in read.items()})
        return self._scores[each]


def _variants(recipe: Recipe, name: str) -> Iterator[Recipe]:
    """Yield the recipe with each of the grid's settings of one algorithm."""
    for settings in GRID.get(name, ()):
        changed = tuple(
            algorithm(name, settings) if each.name == name else each for each in recipe.algorithms
        )
        yield replace(recipe, algorithms=changed)


def _reweighted(recipe: Recipe, name: str) -> Iterator[Recipe]:
    """Yield the recipe with other weights of one algorithm, never with none at all."""
    for factor in FACTORS:
        weights = {**recipe.blend, name: recipe.blend[name] * factor}
        if any(weights.values()):
            yield replace(recipe, weights=weights)


def _tuned_for_values(data: TrainingData, recipe: Recipe, folds: int, seed: int) -> Recipe:
    """Return the recipe with the settings of biased_mf that err least on a held back share of the values."""
    ratings = data.interactions if data.ratings is None else data.ratings
    generator = np.random.default_rng(seed + SEED_OF_VALIDATION)
    held = generator.permutation(ratings.matrix.nnz) % folds == 0
    train, test = kept(ratings, ~held), kept(ratings, held).matrix

    def error(candidate: Recipe) -> float:
        fitted = valuer(candidate).fit(TrainingData(train, ratings=train))
        return value_errors(fitted, train, test)["rmse"]

    return min(_variants(recipe, "biased_mf"), key=error, default=recipe)
