from __future__ import annotations

import numpy as np
import pytest

from services.kit.settings import read
from services.recommender.datasets.movielens import ML_100K, MovieLens, load
from services.recommender.evaluation.evaluation import evaluate
from services.recommender.evaluation.protocols import protocol
from services.recommender.models.recipe import BLEND
from services.store.settings import StoreSettings
from services.store.store import Store


@pytest.fixture(scope="module")
def movielens() -> MovieLens:
    return load(Store(read(StoreSettings).cache))


def test_the_data_is_what_its_makers_count(movielens: MovieLens) -> None:
    assert (len(movielens.ratings), len(movielens.items), len(movielens.users)) == (100_000, 1_682, 943)
    assert len({event.event_id for event in movielens.events()}) == 100_000
    assert "not for commercial use" in ML_100K.terms


def test_every_rating_stands_in_both_matrices_with_its_time(movielens: MovieLens) -> None:
    data = movielens.training_data()
    assert data.ratings is not None
    one = movielens.ratings[123]
    row, column = data.interactions.user_ids.index(one.user_id), data.interactions.item_ids.index(one.item_id)
    assert data.interactions.matrix[row, column] == 1
    assert data.ratings.matrix[row, column] == one.value
    entry = data.interactions.matrix.indptr[row] + np.flatnonzero(
        data.interactions.matrix[row].indices == column
    )
    assert data.interactions.times[entry] == [one.timestamp]


def test_the_served_blend_is_as_good_as_promised(movielens: MovieLens) -> None:
    report = evaluate(movielens.training_data(), BLEND, protocol("random-75-25"), 10, [1])
    assert report.metrics["ndcg@10"].mean > 0.485
    assert report.metrics["recall@10"].mean > 0.225


def test_the_served_blend_tells_the_next_item_from_the_latest(movielens: MovieLens) -> None:
    report = evaluate(movielens.training_data(), BLEND, protocol("leave-last-out"), 10, [1])
    assert report.metrics["ndcg@10"].mean > 0.05
