"""Doing a job: measure where asked, train on everything, write the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, time
from typing import Any

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.evaluation.evaluation import evaluate
from services.recommender.evaluation.protocols import protocol
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.biased_mf import BiasedMf
from services.recommender.models.recipe import Recipe
from services.recommender.models.version_files import write_version
from services.recommender.training.job import Job
from services.recommender.training.reading import Snapshot, read_snapshot


def run(job: Job) -> Mapping[str, Any]:
    """Return what came of the job: `manifest` of a training's version, `metrics` of what was measured.

    Raises FailedPrecondition (TRAINING_FAILED), InvalidArgument for what a job cannot ask.
    """
    snapshot = read_snapshot(job)
    if not snapshot.data.interactions.matrix.nnz:
        raise FailedPrecondition(Reason.TRAINING_FAILED, "There are no events to learn from.")
    metrics, training_s = measured(job, snapshot.data)
    if job.task == "evaluate":
        return {"metrics": metrics, "training_s": training_s}
    return {"manifest": trained(job, snapshot, metrics), "metrics": metrics}


def measured(job: Job, data: TrainingData) -> tuple[dict[str, Any], float]:
    """Return the metrics of the job's protocols, and how long one training of the recipe took in seconds."""
    metrics: dict[str, Any] = {}
    training_s = 0.0
    for name in job.protocols:
        report = evaluate(data, _fit_for(job.recipe(), name), protocol(name), job.k, job.seeds)
        metrics |= {key: asdict(value) for key, value in report.metrics.items()}
        training_s = max(training_s, report.training_s)
    return metrics, training_s


def trained(job: Job, snapshot: Snapshot, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the version and return its manifest."""
    recipe, interactions = without_values(job.recipe(), snapshot.data), snapshot.data.interactions
    began = perf_counter()
    models = recipe.fit(snapshot.data)
    about = {
        "origin": "training",
        "created": time(),
        "sequence": snapshot.sequence,
        "users": int(interactions.matrix.shape[0]),
        "items": len(interactions.item_ids),
        "interactions": int(interactions.matrix.nnz),
        "training_s": perf_counter() - began,
        "weights": dict(recipe.blend),
        "metrics": {name: value["mean"] for name, value in metrics.items()},
    }
    return write_version(Path(job.folder), models, interactions.item_ids, interactions.rows, about)


def without_values(recipe: Recipe, data: TrainingData) -> Recipe:
    """Return the recipe without what learns from values, where there are none and it is not all there is."""
    others = tuple(each for each in recipe.algorithms if not isinstance(each, BiasedMf))
    if data.ratings is not None or not others:
        return recipe
    weights = {name: weight for name, weight in recipe.blend.items() if name != BiasedMf.name}
    return Recipe(others, weights)


def _fit_for(recipe: Recipe, protocol_name: str) -> Recipe:
    """Return what a protocol needs of the recipe: what only stands by is not trained to be measured."""
    if protocol_name.startswith("ratings-"):
        return recipe
    spoken = tuple(each for each in recipe.algorithms if recipe.blend.get(each.name))
    return Recipe(spoken, {each.name: recipe.blend[each.name] for each in spoken}) if spoken else recipe
