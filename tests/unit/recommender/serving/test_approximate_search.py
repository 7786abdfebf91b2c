"""The index finds nearly what exact scoring does, without what may not be shown, and says when it cannot."""

from __future__ import annotations

import numpy as np

from services.recommender.models.factors import Factors, Fold
from services.recommender.serving.ann import AnnIndex, nearest
from services.recommender.serving.scoring import Work, score
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Taste

ITEMS, USERS, WIDTH, COUNT = 3_000, 8, 16, 10
_NOBODY = np.empty(0, np.int32)


def served(*, indexed: bool) -> Served:
    vectors = np.random.default_rng(1).standard_normal((ITEMS, WIDTH)).astype(np.float32)
    model = Factors("ials", vectors, Fold())
    rows = np.arange(ITEMS, dtype=np.int32)
    index = AnnIndex.build(model) if indexed else None
    ids = tuple(f"i{row}" for row in rows)
    return Served("v", {"ials": model}, {"ials": 1.0}, rows, ids, index)


def work(version: Served, penalty: np.ndarray, excluded: list[np.ndarray]) -> Work:
    random = np.random.default_rng(2)
    tastes = []
    for _ in range(USERS):
        rows = np.sort(random.choice(ITEMS, 5, replace=False)).astype(np.int32)
        ones = np.ones(5, np.float32)
        tastes.append(Taste(rows, ones, ones, ones, rows))
    return Work(
        version, {"ials": 1.0}, {}, "z_score", tastes, penalty, excluded, [None] * USERS, [COUNT] * USERS
    )


def test_it_finds_nearly_what_exact_scoring_does():
    allowed = np.zeros(ITEMS, np.float32)
    exact = score(work(served(indexed=False), allowed, [_NOBODY] * USERS))
    nearly = score(work(served(indexed=True), allowed, [_NOBODY] * USERS))
    common = [len(set(a) & set(b)) for a, b in zip(exact.columns, nearly.columns, strict=True)]
    assert sum(common) >= 0.95 * USERS * COUNT
    assert np.allclose(exact.row(3), nearly.row(3), atol=1e-4)


def test_what_is_excluded_or_hidden_is_not_found():
    version = served(indexed=True)
    allowed = np.zeros(ITEMS, np.float32)
    first = score(work(version, allowed, [_NOBODY] * USERS))
    excluded = [columns[:3].astype(np.int32) for columns in first.columns]
    hidden = allowed.copy()
    hidden[first.columns[:, 3]] = -np.inf
    then = score(work(version, hidden, excluded))
    for place in range(USERS):
        assert not set(then.columns[place]) & {*first.columns[place, :3], *first.columns[:, 3]}
    assert np.isfinite(then.values).all()


def test_a_filter_that_leaves_little_is_answered_exactly():
    version, penalty = served(indexed=True), np.full(ITEMS, -np.inf, np.float32)
    penalty[::100] = 0.0
    found = score(work(version, penalty, [_NOBODY] * USERS))
    assert (found.columns % 100 == 0).all()
    users = np.ones((1, WIDTH), np.float32)
    assert version.index is not None
    assert nearest(version.index, users, COUNT, [_NOBODY], penalty) is None
