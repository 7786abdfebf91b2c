"""Top-k, blending, diversity, and the statistics of experiments, against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.kit.errors import InvalidArgument
from services.recommender.serving.assignment import assign, check
from services.recommender.serving.blending import blend, reciprocal_ranks, z_scores
from services.recommender.serving.diversity import mmr
from services.recommender.serving.statistics import difference, rate, sample_ratio_p
from services.recommender.serving.topk import BLOCK, top_k
from services.recommender.store.experiments import Experiment, Variant


@pytest.mark.parametrize("columns", [1, 7, 1_682, 40 * BLOCK, 60 * BLOCK + 13])
@pytest.mark.parametrize("k", [1, 10, 3_000])
def test_top_k_is_what_sorting_finds(columns: int, k: int):
    scores = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    found, values = top_k(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert (found == expected).all()
    assert (values == np.take_along_axis(scores, expected, axis=1)).all()


@given(arrays(np.float32, (2, 30), elements=st.sampled_from([-np.inf, 0.0, 1.0, 2.0])))
def test_top_k_of_ties_has_the_best_values(scores: np.ndarray):
    _, values = top_k(scores, 5)
    assert (values == -np.sort(-scores, axis=1)[:, :5]).all()


def test_z_scores_have_mean_0_and_deviation_1():
    scores = np.array([[1, 2, 3, 6], [5, 5, 5, 5]], np.float32)
    found = z_scores(scores)
    assert np.allclose(found.mean(axis=1), 0, atol=1e-6)
    assert np.allclose(found.std(axis=1), [1, 0], atol=1e-6)


def test_a_blend_weighs_its_parts():
    one, other = np.array([[0, 1, 2]], np.float32), np.array([[9, 5, 1]], np.float32)
    assert np.allclose(blend([one, other], [1.0, 1.0]), 0, atol=1e-6)
    assert np.argmax(blend([one, other], [2.0, 1.0])) == 2
    assert np.allclose(reciprocal_ranks(one), [[1 / 63, 1 / 62, 1 / 61]])


def test_diversity_passes_over_a_twin():
    scores = np.array([1.0, 0.99, 0.5], np.float32)
    likeness = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32)
    assert mmr(scores, likeness, 0.0, 3) == [0, 1, 2]
    assert mmr(scores, likeness, 0.7, 3) == [0, 2, 1]


def test_rates_have_wilson_intervals():
    # Newcombe (1998), table I: 81 of 263.
    found = rate(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert (rate(0, 0).low, rate(0, 0).high) == (0.0, 1.0)
    assert rate(5, 3).value == 1.0


def test_a_difference_is_significant_when_it_is():
    clear = difference((100, 1_000), (150, 1_000))
    assert clear.value == pytest.approx(0.05)
    assert clear.low > 0
    assert clear.p_value < 0.001
    assert difference((100, 1_000), (100, 1_000)).p_value == pytest.approx(1.0)
    assert difference((0, 0), (1, 2)).p_value == 1.0


def test_an_uneven_split_is_noticed():
    assert sample_ratio_p([5_000, 5_000], [1, 1]) == pytest.approx(1.0)
    assert sample_ratio_p([5_000, 5_400], [1, 1]) < 0.001
    assert sample_ratio_p([9_000, 1_000], [0.9, 0.1]) == pytest.approx(1.0)
    # Chi-squared of 4 with one degree of freedom.
    assert sample_ratio_p([60, 40], [1, 1]) == pytest.approx(0.0455, abs=1e-4)


def test_units_are_shared_out_by_weight_and_stay_where_they_are():
    experiment = Experiment("e", "default", (Variant("a", 1.0), Variant("b", 3.0), Variant("never", 0.0)))
    names = [assign(experiment, f"user-{each}").name for each in range(8_000)]
    assert names == [assign(experiment, f"user-{each}").name for each in range(8_000)]
    assert "never" not in names
    assert sample_ratio_p([names.count("a"), names.count("b")], [1, 3]) > 0.001
    salted = Experiment("e", "default", experiment.variants, salt="other")
    assert names != [assign(salted, f"user-{each}").name for each in range(8_000)]


@pytest.mark.parametrize(
    "variants",
    [
        (Variant("a"),),
        (Variant("a"), Variant("a")),
        (Variant("a", 0), Variant("b", 0)),
        (Variant("a", -1),) * 2,
    ],
)
def test_experiments_that_compare_nothing_are_refused(variants: tuple[Variant, ...]):
    with pytest.raises(InvalidArgument):
        check(Experiment("e", "default", variants))
