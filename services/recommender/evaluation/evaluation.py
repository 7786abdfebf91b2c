"""The evaluation: for each seed split, train, rank everything, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy.sparse import csr_matrix

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.entities import Interactions
from services.recommender.evaluation.blend import Blend
from services.recommender.evaluation.intervals import Metric, metric
from services.recommender.evaluation.metrics import (
    Numbers,
    coverage,
    error_metrics,
    list_metrics,
    ranking_metrics,
    rankings,
)
from services.recommender.evaluation.protocols import RankingProtocol, RatingProtocol
from services.recommender.evaluation.splits import Split, kept
from services.recommender.models.algorithm import Algorithm, TrainingData
from services.recommender.models.blocks import blocks
from services.recommender.models.model import Model, RatingModel, Reads
from services.recommender.models.recency import recent
from services.recommender.models.recipe import Recipe
from services.recommender.models.sittings import users_of

Tuner = Callable[[TrainingData, Recipe, int], Recipe]
"""Chooses hyper-parameters for a recipe by a training part alone; the number is its seed."""


@dataclass(frozen=True)
class Report:
    """What was measured."""

    metrics: Mapping[str, Metric]
    training_s: float
    """Of all algorithms together, the mean over runs; choosing hyper-parameters not included."""


def evaluate(
    data: TrainingData,
    recipe: Recipe,
    protocol: RankingProtocol | RatingProtocol,
    k: int,
    seeds: Sequence[int],
    *,
    tuner: Tuner | None = None,
) -> Report:
    """Return the metrics of the recipe's blend, or of its model of values.

    With a `tuner` each run's recipe is what that makes of its training part. Raises FailedPrecondition
    (TRAINING_FAILED) where the data does not suffice.
    """
    if isinstance(protocol, RatingProtocol):
        return _evaluate_ratings(data, recipe, protocol.folds, seeds, tuner)
    runs, training = [], []
    for seed in seeds:
        split = protocol.split(data.interactions, seed)
        train = TrainingData(split.train, data.items)
        chosen = tuner(train, recipe, seed) if tuner else recipe
        began = perf_counter()
        models = chosen.fit(train)
        training.append(perf_counter() - began)
        runs.append(measure(Blend(models, chosen.blend), split, k))
    means = {name: [float(run[name].mean()) for run in runs] for name in runs[0]}
    metrics = {name: metric(per_seed, runs[0][name].tolist()) for name, per_seed in means.items()}
    return Report(metrics, float(np.mean(training)))


def measure(blend: Blend, split: Split, k: int) -> dict[str, Numbers]:
    """Return each metric of the blend's lists, a number a user who has history and something to find."""
    asked = np.flatnonzero((np.diff(split.test.indptr) > 0) & (np.diff(split.histories.matrix.indptr) > 0))
    if not len(asked):
        raise FailedPrecondition(Reason.TRAINING_FAILED, "No user has both history and something to find.")
    read = histories(split.histories, blend.reads)
    lists = [
        rankings(
            blend.scores({way: matrix[block] for way, matrix in read.items()}),
            split.histories.matrix[block],
            k,
        )
        for block in (asked[part] for part in blocks(len(asked), split.test.shape[1]))
    ]
    shown = np.concatenate(lists)
    found = ranking_metrics(shown, split.test[asked]) | list_metrics(shown, split.train.matrix)
    return found | {f"coverage@{k}": np.array([coverage(shown, split.train.matrix.shape[1])])}


def histories(interactions: Interactions, ways: set[Reads]) -> dict[Reads, csr_matrix]:
    """Return the histories as models want to read them; values stand in the interactions themselves."""
    return {way: recent(interactions) if way == "recency" else interactions.matrix for way in ways}


def _evaluate_ratings(
    data: TrainingData, recipe: Recipe, folds: int, seeds: Sequence[int], tuner: Tuner | None
) -> Report:
    """Return rmse and mae of the recipe's algorithm that predicts values, over each seed's folds."""
    ratings = data.ratings
    if ratings is None or ratings.matrix.nnz < folds:
        raise FailedPrecondition(Reason.TRAINING_FAILED, f"There are not {folds} values to be predicted.")
    runs, training = [], []
    for seed in seeds:
        fold_of = np.random.default_rng(seed).permutation(ratings.matrix.nnz) % folds
        for fold in range(folds):
            train = kept(ratings, fold_of != fold)
            part = TrainingData(train, ratings=train)
            algorithm = valuer(tuner(part, recipe, seed) if tuner else recipe)
            began = perf_counter()
            model = algorithm.fit(part)
            training.append(perf_counter() - began)
            runs.append(value_errors(model, train, kept(ratings, fold_of == fold).matrix))
    return Report({name: metric([run[name] for run in runs]) for name in runs[0]}, float(np.mean(training)))


def value_errors(model: Model, train: Interactions, test: csr_matrix) -> Mapping[str, float]:
    """Return the errors of values expected from the training part's histories.

    Raises FailedPrecondition (TRAINING_FAILED) for a model that predicts none.
    """
    if not isinstance(model, RatingModel):
        raise FailedPrecondition(Reason.TRAINING_FAILED, f"{model.name} does not predict values.")
    users = users_of(test)
    expected = np.empty(test.nnz, np.float32)
    for part in blocks(*test.shape):
        predicted = model.ratings(train.matrix[part])
        inside = (users >= part.start) & (users < part.stop)
        expected[inside] = predicted[users[inside] - part.start, test.indices[inside]]
    return error_metrics(expected, test.data)


def valuer(recipe: Recipe) -> Algorithm:
    """Return the recipe's algorithm for values: biased_mf where it is there, else its first."""
    named = {algorithm.name: algorithm for algorithm in recipe.algorithms}
    return named.get("biased_mf", recipe.algorithms[0])
