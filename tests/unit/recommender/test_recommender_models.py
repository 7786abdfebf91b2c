from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, vstack

from services.kit.errors import FailedPrecondition, InvalidArgument, Reason
from services.recommender.entities import Interactions, Item
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.content import Content, Described
from services.recommender.models.ease import Ease, weights
from services.recommender.models.factors import Factors, Fold
from services.recommender.models.ials import Ials
from services.recommender.models.item_knn import ItemKnn
from services.recommender.models.kinds import ALGORITHMS, algorithm, restore
from services.recommender.models.model import Model, RatingModel, UserModel
from services.recommender.models.popularity import Popularity
from services.recommender.models.recency import recency, recent
from services.recommender.models.recipe import DEFAULT
from services.recommender.models.sittings import sittings
from services.recommender.models.transitions import Transitions
from services.recommender.models.user_knn import UserKnn
from tests.unit.recommender.tastes import GROUPS, ITEMS_EACH, grouped, history, of_group

DATA = grouped()
QUICK = {"bpr": {"epochs": 60}, "biased_mf": {"members": 2, "epochs": 60}}
MODELS = {kind: algorithm(kind, QUICK.get(kind, {})).fit(DATA) for kind in ALGORITHMS}
PERSONAL = sorted(MODELS.keys() - {"popularity", "biased_mf"})
ADDING_UP = ("ease", "item_knn", "transitions", "content", "ials", "bpr")


def sequence(*columns: int) -> Interactions:
    """One user who used these items in this order."""
    order = np.argsort(columns)
    matrix = csr_matrix(
        (np.ones(len(columns), np.float32), (np.zeros(len(columns), int), sorted(columns))), (1, 6)
    )
    ids = [str(each) for each in range(6)]
    return Interactions(matrix, ids, np.arange(6, dtype=np.int32), ["u"], order.astype(float))


@pytest.mark.parametrize("kind", PERSONAL)
def test_each_algorithm_recommends_a_groups_items_to_whoever_has_some_of_them(kind: str) -> None:
    first, second, *others = of_group(1)
    scores = MODELS[kind].scores(history(first, second))[0]
    assert scores.dtype == np.float32
    assert scores[others].mean() > scores[[*of_group(0), *of_group(2)]].mean()
    assert (
        int(np.argmax(np.where(np.isin(np.arange(len(scores)), [first, second]), -np.inf, scores))) in others
    )


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_many_histories_at_once_score_as_one_by_one(kind: str) -> None:
    model = MODELS[kind]
    each = [history(0, 9, weight=3.0), history(), history(17)]
    together = model.scores(vstack(each).tocsr())
    assert together.shape == (3, model.items)
    np.testing.assert_allclose(together, np.concatenate([model.scores(one) for one in each]), atol=1e-5)
    assert np.isfinite(together).all()


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_model_comes_back_from_what_a_version_stores_of_it(kind: str) -> None:
    model = MODELS[kind]
    again = restore(model.name, dict(model.config), model.arrays())
    np.testing.assert_array_equal(again.scores(history(1, 10)), model.scores(history(1, 10)))
    assert (again.name, again.items, again.reads, again.config) == (
        model.name,
        model.items,
        model.reads,
        model.config,
    )


@pytest.mark.parametrize("kind", ADDING_UP)
def test_contributions_add_up_to_the_score_and_the_largest_comes_first(kind: str) -> None:
    model, one = MODELS[kind], history(2, 4, 12, weight=2.0)
    shares = model.contributions(one, 3)
    assert [share for _, share in shares] == sorted((share for _, share in shares), reverse=True)
    assert {column for column, _ in shares} <= {2, 4, 12}
    assert sum(share for _, share in shares) == pytest.approx(
        float(model.scores(one)[0, 3]), rel=1e-3, abs=1e-5
    )


@pytest.mark.parametrize("kind", ["ials", "bpr", "biased_mf"])
def test_scores_are_products_of_folded_users_and_vectors(kind: str) -> None:
    model, some = MODELS[kind], vstack([history(0, 1), history(20)]).tocsr()
    folded, vectors = model.fold(some), model.vectors()
    assert folded is not None
    assert vectors is not None
    np.testing.assert_allclose(folded @ vectors.T, model.scores(some), atol=1e-4)


@pytest.mark.parametrize("kind", sorted(MODELS.keys() - {"popularity", "biased_mf"}))
def test_items_of_one_group_are_more_alike_than_others(kind: str) -> None:
    likeness = MODELS[kind].similar(0)
    assert likeness.shape == (GROUPS * ITEMS_EACH,)
    assert likeness[list(of_group(0))[1:]].mean() > likeness[list(of_group(2))].mean()


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_training_again_makes_the_same_model(kind: str) -> None:
    again = algorithm(kind, QUICK.get(kind, {})).fit(DATA)
    for name, array in MODELS[kind].arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])


def test_ease_is_the_closed_form_of_its_paper() -> None:
    matrix = DATA.interactions.matrix.toarray()
    inverse = np.linalg.inv(matrix.T @ matrix + 5.0 * np.eye(matrix.shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    found = Ease(regularisation=5.0, sitting_weight=0.0).fit(DATA).weights
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ease_refuses_a_catalogue_whose_matrix_no_machine_should_hold_and_shows_the_arithmetic() -> None:
    items = 20_001
    wide = Interactions(
        csr_matrix((1, items), dtype=np.float32),
        [str(each) for each in range(items)],
        np.arange(items, dtype=np.int32),
    )
    with pytest.raises(FailedPrecondition, match=r"20,001 by 20,001 numbers, 4\.8 GB") as refused:
        Ease().fit(TrainingData(wide))
    assert refused.value.reason == Reason.TRAINING_FAILED


def test_what_cannot_be_inverted_is_said() -> None:
    with pytest.raises(FailedPrecondition, match="cannot be inverted"):
        weights(np.full((3, 3), -1.0, np.float32), 1e-6)


def test_one_step_of_ials_minimises_its_loss() -> None:
    fold, matrix = Fold(0.3, 0.05, 0.7), DATA.interactions.matrix
    vectors = np.random.default_rng(1).standard_normal((matrix.shape[1], 4)).astype(np.float32)
    users = Factors("ials", vectors, fold).fold(matrix)
    rows = matrix.toarray()

    def loss(found: np.ndarray) -> np.ndarray:
        said = found @ vectors.T
        ridge = 0.05 * ((rows > 0).sum(axis=1) + 0.3 * rows.shape[1]) ** 0.7
        return (rows * (1 - said) ** 2).sum(1) + 0.3 * (said**2).sum(1) + ridge * (found**2).sum(1)

    least = loss(users)
    for nudge in np.random.default_rng(2).standard_normal((20, *users.shape)) * 0.01:
        assert (loss(users + nudge) >= least - 1e-4).all()


def test_dislikes_take_away_in_ease_and_say_nothing_in_factors() -> None:
    liked, torn = history(0), history(0) - history(1)
    assert MODELS["ease"].scores(torn)[0, 2] < MODELS["ease"].scores(liked)[0, 2]
    np.testing.assert_array_equal(MODELS["ials"].scores(torn), MODELS["ials"].scores(liked))


def test_item_knn_keeps_no_more_neighbours_than_it_is_told() -> None:
    kept = ItemKnn(neighbours=3).fit(DATA).weights
    assert max(np.diff(csr_matrix(kept).tocsc().indptr)) <= 3


def test_user_knn_names_the_users_like_a_history_and_says_that_it_holds_them() -> None:
    model = UserKnn().fit(DATA)
    assert isinstance(model, UserModel)
    (found,) = model.neighbours(history(*of_group(2)), 5)
    assert len(found) == 5
    assert all(int(user.removeprefix("user-")) >= 40 for user, _ in found)
    assert [nearness for _, nearness in found] == sorted((nearness for _, nearness in found), reverse=True)
    assert not any(isinstance(each, UserModel) for kind, each in MODELS.items() if kind != "user_knn")


def test_values_are_higher_for_what_the_user_likes_and_stay_within_those_that_were_given() -> None:
    model = MODELS["biased_mf"]
    assert isinstance(model, RatingModel)
    expected = model.ratings(history(0, 1, 2, 3, weight=5.0) + history(16, 17, weight=2.0))[0]
    assert expected[[4, 5, 6, 7]].mean() > expected[18:].mean()
    assert expected.min() >= 2.0
    assert expected.max() <= 5.0
    assert model.ratings(history())[0].std() > 0  # a stranger gets the items' own values


def test_biased_mf_says_that_it_needs_values() -> None:
    with pytest.raises(FailedPrecondition, match="no event has one"):
        algorithm("biased_mf", {}).fit(TrainingData(DATA.interactions))


def test_popularity_forgets_what_is_old() -> None:
    data = TrainingData(sequence(3, 1))
    assert Popularity().fit(data).ranking.tolist() == [0, 1, 0, 1, 0, 0]
    assert Popularity(half_life_s=1.0).fit(data).ranking.tolist() == [0, 1, 0, 0.5, 0, 0]


def test_transitions_tell_what_comes_next_better_than_what_came_before() -> None:
    model = Transitions(reach=1.0).fit(TrainingData(sequence(4, 0, 5, 2)))
    assert model.reads == "recency"
    follows = model.similar(0)
    assert follows[5] > follows[2] > 0
    assert follows[5] > follows[4] > 0


def test_a_recent_history_counts_its_latest_event_in_full() -> None:
    np.testing.assert_allclose(recency(3, 0.5), [0.25, 0.5, 1.0])
    np.testing.assert_allclose(recency(3, 0.5, floor=0.2), [0.4, 0.6, 1.0])
    np.testing.assert_allclose(recent(sequence(4, 0, 5), 0.5).toarray()[0], [0.5, 0, 0, 0, 0.25, 1.0])


def test_sittings_hold_what_was_used_together() -> None:
    found = {tuple(np.flatnonzero(row)) for row in sittings(sequence(5, 3, 1, 0), 2).toarray()}
    assert found == {(3, 5), (0, 1), (5,), (1, 3), (0,)}


def test_content_recommends_an_item_that_came_after_training_and_tells_what_it_shares() -> None:
    model = Content().fit(DATA)
    new = Item("new", ("genre-1",), text="songs of love")
    grown = model.extended([new])
    assert grown.items == model.items + 1
    scores = grown.scores(csr_matrix(np.pad(history(8, 9).toarray(), ((0, 0), (0, 1)))))[0]
    assert scores[-1] > scores[list(of_group(0))].max()
    assert [name for name, _ in model.matched(DATA.items[8], new)] == ["category genre-1", "love", "songs"]


def test_content_takes_embeddings_that_came_with_the_items() -> None:
    items = [
        Item(str(each), embedding=vector) for each, vector in enumerate([(1.0, 0.0), (2.0, 0.1), (0.0, 3.0)])
    ]
    matrix = csr_matrix(np.eye(3, dtype=np.float32))
    data = TrainingData(Interactions(matrix, ["0", "1", "2"], np.arange(3, dtype=np.int32)), items)
    model = Content().fit(data)
    assert isinstance(model, Described)
    assert model.similar(0)[1] > 0.9
    assert model.similar(0)[2] < 0.1


@pytest.mark.parametrize(
    ("kind", "parameters", "field"),
    [
        ("mystery", {}, "kind"),
        ("ease", {"speed": 1}, r"parameters\[speed\]"),
        ("ease", {"regularisation": 0}, "regularisation"),
        ("ials", {"factors": 2.5}, r"parameters\[factors\]"),
        ("ials", {"regularisation": float("nan")}, "regularisation"),
        ("transitions", {"reach": float("inf")}, "reach"),
    ],
)
def test_what_an_algorithm_cannot_be_set_to_is_refused(
    kind: str, parameters: dict[str, float], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=field):
        algorithm(kind, parameters)


def test_whole_numbers_come_as_floating_point_ones() -> None:
    assert algorithm("ials", {"factors": 8.0}) == Ials(factors=8)


def test_a_user_without_events_and_a_catalogue_of_one_item_break_nothing() -> None:
    one = Interactions(
        csr_matrix(np.array([[1.0], [0.0]], np.float32)), ["a"], np.zeros(1, np.int32), ["u", "v"]
    )
    data = TrainingData(one, ratings=one)
    models: dict[str, Model] = DEFAULT.fit(data)
    assert all(np.isfinite(model.scores(one.matrix)).all() for model in models.values())
