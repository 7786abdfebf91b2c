from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.entities import Event, Item, Preference
from services.recommender.models.version_files import read_version, write_version
from services.recommender.store.store import RecommenderStore, StoreOptions
from services.recommender.training.job import Job, read_job, write_job
from services.recommender.training.reading import read_snapshot
from services.recommender.training.running import run
from tests.unit.recommender.tastes import grouped, history

PREFERENCES = {"view": Preference(), "rating": Preference(), "dislike": Preference(-1.0)}
QUICK = {"ials": {"iterations": 2}, "biased_mf": {"members": 1, "epochs": 3}}


def of_data() -> list[Event]:
    """The ratings of the grouped users as events."""
    data = grouped()
    assert data.ratings is not None
    matrix = data.ratings.matrix.tocoo()
    return [
        Event(
            f"{user}-{item}",
            "rating",
            f"item-{item:02}",
            f"user-{user}",
            value=float(value),
            timestamp=1.0 + at,
        )
        for at, (user, item, value) in enumerate(zip(matrix.row, matrix.col, matrix.data, strict=True))
    ]


async def job_of(folder: Path, events: list[Event], **changes: Any) -> Job:
    """A job for a database in `folder` that holds these events."""
    url = f"sqlite:///{folder / 'events.sqlite'}"
    async with await RecommenderStore.open(StoreOptions(url, folder, PREFERENCES)) as store:
        await store.catalogue.upsert(
            [Item(each.item_id, each.categories, text=each.text) for each in grouped().items]
        )
        await store.log.append(events)
    made = Job("train", url, PREFERENCES, folder=str(folder / "versions" / "first"))
    return replace(made, **changes)


def in_a_process(folder: Path) -> int:
    """Run the job in `folder` as a process of its own and return its exit status."""
    command = [sys.executable, "-m", "services.recommender.training", "job.json", "result.json"]
    paths = {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=folder, env=paths, check=False, timeout=240).returncode


async def test_a_training_process_leaves_a_version_and_a_result(tmp_path: Path) -> None:
    algorithms = {"ease": {}, "transitions": {}, "content": {}, "user_knn": {}, **QUICK}
    job = await job_of(tmp_path, of_data(), algorithms=algorithms, protocols=("leave-last-out",), k=5)
    write_job(job, tmp_path / "job.json")
    assert await asyncio.to_thread(in_a_process, tmp_path) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    version = read_version(Path(job.folder))
    assert result["manifest"] == version.manifest
    assert version.models.keys() == algorithms.keys()
    assert version.manifest["sequence"] == version.manifest["interactions"] == len(of_data())
    assert version.manifest["metrics"]["ndcg@5"] == result["metrics"]["ndcg@5"]["mean"] > 0
    holding = [name for name, entry in version.manifest["models"].items() if entry["holds_users"]]
    assert holding == ["user_knn"]


async def test_a_job_that_cannot_be_done_says_why_and_leaves_no_version(tmp_path: Path) -> None:
    job = await job_of(tmp_path, [])
    write_job(job, tmp_path / "job.json")
    assert await asyncio.to_thread(in_a_process, tmp_path) == 1
    error = json.loads((tmp_path / "result.json").read_text())["error"]
    assert error["reason"] == Reason.TRAINING_FAILED
    assert error["message"] == "There are no events to learn from."
    assert not (tmp_path / "versions").exists()


async def test_an_evaluation_measures_and_writes_nothing(tmp_path: Path) -> None:
    job = await job_of(
        tmp_path,
        of_data(),
        task="evaluate",
        algorithms=QUICK,
        protocols=("random-75-25", "ratings-5-fold"),
        seeds=(1, 2),
    )
    metrics = (await asyncio.to_thread(run, job))["metrics"]
    assert len(metrics["ndcg@10"]["per_seed"]) == 2
    assert len(metrics["rmse"]["per_seed"]) == 10
    assert not (tmp_path / "versions").exists()


async def test_values_stand_where_their_interactions_stand(tmp_path: Path) -> None:
    seen = [
        Event("1", "view", "item-03", "a", timestamp=1.0),
        Event("2", "rating", "item-05", "b", value=4.0, timestamp=2.0),
        Event("3", "rating", "item-03", "b", value=0.0, timestamp=3.0),
        Event("4", "rating", "item-03", "a", value=2.0, timestamp=4.0),
        Event("5", "dislike", "item-05", "c", timestamp=5.0),
        Event("6", "rating", "item-05", session_id="s", value=3.0, timestamp=6.0),
    ]
    snapshot = await asyncio.to_thread(read_snapshot, await job_of(tmp_path, seen))
    data = snapshot.data
    assert snapshot.sequence == 6
    assert data.ratings is not None
    given = {
        (data.interactions.user_ids[user], data.interactions.item_ids[item]): float(value)
        for user, item, value in zip(*data.ratings.matrix.nonzero(), data.ratings.matrix.data, strict=False)
        if value
    }
    assert given == {("b", "item-05"): 4.0, ("a", "item-03"): 2.0}
    assert [item.categories for item in data.items] == [("genre-0",), ("genre-0",)]


async def test_values_of_nobody_leave_the_model_of_values_out(tmp_path: Path) -> None:
    views = [replace(each, event_type="view") for each in of_data()]
    algorithms = {"popularity": {}, "biased_mf": {}}
    job = await job_of(tmp_path, views, algorithms=algorithms)
    manifest = (await asyncio.to_thread(run, job))["manifest"]
    assert manifest["models"].keys() == {"popularity"}


async def test_a_job_comes_back_from_its_file(tmp_path: Path) -> None:
    job = await job_of(tmp_path, [], weights={"ials": 2.0}, seeds=(3, 4))
    write_job(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job


@pytest.mark.parametrize(
    ("algorithms", "weights", "blend"),
    [
        ({}, {}, {"ease", "ials", "transitions"}),
        ({"ease": {}, "ials": {}, "transitions": {}, "content": {}}, {}, {"ease", "ials", "transitions"}),
        ({"ease": {}, "bpr": {}, "content": {}}, {}, {"ease", "bpr"}),
        ({"content": {}}, {}, {"content"}),
        ({"ease": {}, "bpr": {}}, {"bpr": 1.0}, {"bpr"}),
    ],
)
def test_usual_company_has_its_usual_weights_and_other_company_equal_ones(
    algorithms: dict[str, dict[str, float]], weights: dict[str, float], blend: set[str]
) -> None:
    recipe = Job("train", "", {}, algorithms=algorithms, weights=weights).recipe()
    assert recipe.blend.keys() == blend


def test_a_version_comes_back_whole_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    data = grouped()
    models = Job("train", "", {}, algorithms={"ease": {}, "ials": {"iterations": 1}}).recipe().fit(data)
    ids, rows = data.interactions.item_ids, data.interactions.rows
    write_version(tmp_path / "v1", models, ids, rows, {"origin": "training"})
    version = read_version(tmp_path / "v1")
    assert list(version.item_ids) == list(ids)
    np.testing.assert_array_equal(version.rows, rows)
    for name, model in models.items():
        np.testing.assert_array_equal(version.models[name].scores(history(3)), model.scores(history(3)))
    assert [each.name for each in tmp_path.iterdir()] == ["v1"]
    weights = tmp_path / "v1" / "ials.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(FailedPrecondition, match="is not what was written") as refused:
        read_version(tmp_path / "v1")
    assert refused.value.reason == Reason.VERSION_UNUSABLE


def test_a_version_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    class Unwritable:
        name = "ease"

        def arrays(self) -> dict[str, Any]:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_version(tmp_path / "v1", {"ease": Unwritable()}, [], np.empty(0, np.int32), {})  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())
