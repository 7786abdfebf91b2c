from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from services.kit.errors import FailedPrecondition, InvalidArgument
from services.recommender.entities import Interactions
from services.recommender.evaluation import splits
from services.recommender.evaluation.blend import Blend
from services.recommender.evaluation.evaluation import evaluate, measure
from services.recommender.evaluation.intervals import metric
from services.recommender.evaluation.metrics import (
    coverage,
    error_metrics,
    list_metrics,
    ranking_metrics,
    rankings,
)
from services.recommender.evaluation.protocols import protocol
from services.recommender.evaluation.tuning import tuner
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.kinds import algorithm
from services.recommender.models.recipe import BLEND, Recipe
from tests.unit.recommender.tastes import grouped

DATA = grouped()
SEEN = DATA.interactions.matrix


def entries(interactions: Interactions) -> set[tuple[int, int]]:
    return set(zip(*interactions.matrix.nonzero(), strict=True))


def test_a_list_is_what_scores_highest_of_what_was_not_seen() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]], np.float32)
    seen = csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 1, 1]], np.float32))
    assert rankings(scores, seen, 3).tolist() == [[1, 2, 3], [0, -1, -1]]


def test_metrics_of_a_list_are_what_their_equations_say() -> None:
    test = csr_matrix(np.array([[0, 1, 0, 1, 1, 0]], np.float32))
    found = ranking_metrics(np.array([[1, 0, 3]]), test)
    discounts = 1 / np.log2([2, 3, 4])
    assert found["ndcg@3"][0] == pytest.approx((discounts[0] + discounts[2]) / discounts.sum())
    assert found["recall@3"][0] == pytest.approx(2 / 3)
    assert found["precision@3"][0] == pytest.approx(2 / 3)
    assert found["map@3"][0] == pytest.approx((1 + 2 / 3) / 3)
    assert found["mrr@3"][0] == found["hit_rate@3"][0] == 1
    missed = ranking_metrics(np.array([[0, 2, -1]]), test)
    assert all(values[0] == 0 for values in missed.values())


def test_metrics_agree_with_ranx() -> None:
    table = json.loads(Path(__file__).with_name("ranx_values.json").read_text())
    lists, test = drawn(table["seed"])
    found = ranking_metrics(lists, test)
    for name, values in table["metrics"].items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def drawn(seed: int) -> tuple[np.ndarray, csr_matrix]:
    """Lists and what is to be found, as `ranx_values.py` draws them."""
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(30)[:10] for _ in range(20)])
    wanted = random.random((20, 30)) < 0.2
    wanted[:, 0] = True
    return lists, csr_matrix(wanted.astype(np.float32))


def test_lists_are_novel_and_diverse_by_who_has_their_items() -> None:
    train = csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]], np.float32))
    found = list_metrics(np.array([[1, 2], [0, 1], [3, -1]]), train)
    assert found["novelty@2"].tolist() == [1.0, 0.5, 2.0]
    np.testing.assert_allclose(found["diversity@2"], [1.0, 1 - 2 / np.sqrt(8), 1.0])
    assert coverage(np.array([[1, 2], [1, -1]]), 4) == 0.5


def test_errors_of_values_are_root_mean_square_and_mean_absolute() -> None:
    assert error_metrics(np.float32([1, 2]), np.float32([1, 4])) == pytest.approx(
        {"rmse": np.sqrt(2), "mae": 1.0}
    )


def test_an_interval_is_students_over_runs_or_over_users_where_there_is_one_run() -> None:
    three = metric([1.0, 2.0, 3.0])
    assert (three.mean, three.high - three.mean) == pytest.approx((2.0, 4.3026527 / np.sqrt(3)))
    assert metric([2.0], [1.0, 2.0, 3.0]).high == pytest.approx(three.high)
    alone = metric([0.4])
    assert (alone.low, alone.high) == (0.4, 0.4)


def test_a_random_split_holds_back_a_share_of_each_user_and_loses_nothing() -> None:
    split = splits.random(DATA.interactions, 0.25, 7)
    assert split.train.matrix.nnz + split.test.nnz == SEEN.nnz
    assert (split.train.matrix + split.test != SEEN).nnz == 0
    np.testing.assert_array_equal(np.diff(split.test.indptr), np.rint(0.25 * np.diff(SEEN.indptr)))
    again, other = splits.random(DATA.interactions, 0.25, 7), splits.random(DATA.interactions, 0.25, 8)
    assert (again.test != split.test).nnz == 0
    assert (other.test != split.test).nnz > 0


def test_times_stay_with_their_entries() -> None:
    split = splits.random(DATA.interactions, 0.25, 7)
    times = dict(zip(zip(*SEEN.nonzero(), strict=True), DATA.interactions.times, strict=True))
    train = split.train
    assert [times[each] for each in zip(*train.matrix.nonzero(), strict=True)] == train.times.tolist()


def test_a_temporal_split_trains_on_nothing_newer_than_what_it_asks_for() -> None:
    split = splits.temporal(DATA.interactions, 0.2)
    assert split.test.nnz == round(0.2 * SEEN.nnz)
    times = dict(zip(zip(*SEEN.nonzero(), strict=True), DATA.interactions.times, strict=True))
    assert split.train.times.max() < min(times[each] for each in zip(*split.test.nonzero(), strict=True))


def test_of_equal_times_the_last_is_the_one_of_the_greatest_item_id() -> None:
    matrix = csr_matrix(np.array([[1, 1, 1], [0, 1, 0]], np.float32))
    tied = Interactions(
        matrix, ["9", "10", "2"], np.arange(3, dtype=np.int32), ["u", "v"], np.array([5.0, 5, 1, 3])
    )
    split = splits.leave_last_out(tied)
    assert split.test.toarray().tolist() == [[1, 0, 0], [0, 0, 0]]


def test_strong_generalisation_asks_for_users_whom_the_training_has_not_seen() -> None:
    split = splits.strong(DATA.interactions, 0.2, 3)
    asked = set(split.histories.user_ids)
    assert len(asked) == 12
    assert not asked & set(split.train.user_ids)
    assert split.histories.matrix.shape[0] == split.test.shape[0] == 12
    assert split.train.matrix.shape[0] == 48


@pytest.mark.parametrize("name", ["random-75-25", "temporal-80-20", "leave-last-out", "strong-80-20"])
def test_a_blend_finds_more_than_chance_by_every_protocol(name: str) -> None:
    report = evaluate(DATA, BLEND, protocol(name), 5, [1, 2])
    assert report.metrics["recall@5"].mean > 5 / 24
    assert len(report.metrics["ndcg@5"].per_seed) == 2
    assert report.metrics.keys() >= {
        f"{each}@5" for each in ("map", "mrr", "coverage", "novelty", "diversity")
    }
    assert report.training_s > 0


def test_values_are_predicted_better_than_by_their_mean() -> None:
    random = np.random.default_rng(4)
    values = 3 + random.uniform(-1, 1, (60, 1)) + random.uniform(-1, 1, (1, 24))
    given = csr_matrix(np.where(random.random(values.shape) < 0.6, values, 0).astype(np.float32))
    ratings = replace(DATA.interactions, matrix=given, times=np.empty(0))
    recipe = Recipe((algorithm("biased_mf", {"members": 1, "factors": 4}),))
    report = evaluate(TrainingData(ratings, ratings=ratings), recipe, protocol("ratings-5-fold"), 10, [1])
    assert len(report.metrics["rmse"].per_seed) == 5
    assert report.metrics["rmse"].mean < 0.7 * given.data.std()


def test_the_same_seed_measures_the_same() -> None:
    once, again = (evaluate(DATA, BLEND, protocol("random-75-25"), 5, [3]).metrics for _ in range(2))
    assert once == again


def test_an_item_in_the_history_is_never_a_hit() -> None:
    split = splits.random(DATA.interactions, 0.25, 1)
    cheating = replace(split, test=split.train.matrix)
    model = algorithm("popularity", {}).fit(TrainingData(split.train))
    found = measure(Blend({"popularity": model}, {"popularity": 1.0}), cheating, 5)
    assert found["recall@5"].max() == 0


@pytest.mark.parametrize("name", ["random-75-25", "leave-last-out"])
def test_tuning_chooses_from_the_training_part_what_is_no_worse_there(name: str) -> None:
    chosen = tuner(protocol(name), 5)(DATA, BLEND, 1)
    assert {each.name for each in chosen.algorithms} == {each.name for each in BLEND.algorithms}
    assert any(chosen.blend.values())
    assert chosen == tuner(protocol(name), 5)(DATA, BLEND, 1)


def test_a_blend_needs_models_of_the_same_columns_and_weights_of_its_own_models() -> None:
    model = algorithm("popularity", {}).fit(DATA)
    with pytest.raises(ValueError, match="models that it has"):
        Blend({"popularity": model}, {"ease": 1.0})


@pytest.mark.parametrize(
    "name", ["random", "random-75-30", "random-100-0", "ratings-1-fold", "leave-one-out", "x" * 99]
)
def test_an_unknown_protocol_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(InvalidArgument, match="protocol must"):
        protocol(name)


def test_nothing_to_find_is_said() -> None:
    split = splits.random(DATA.interactions, 0.0, 1)
    model = algorithm("popularity", {}).fit(TrainingData(split.train))
    with pytest.raises(FailedPrecondition, match="something to find"):
        measure(Blend({"popularity": model}, {"popularity": 1.0}), split, 5)
