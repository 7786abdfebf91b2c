"""Detectors of change in a distribution, beside SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.monitor.detectors import kolmogorov_smirnov, psi, wasserstein
from services.monitor.detectors.mmd import MeanSketch, RandomFeatures, median_width
from services.monitor.detectors.quantile_sketch import QuantileSketch

NUMBERS = np.random.default_rng(3)
BEFORE, AFTER = NUMBERS.lognormal(0.0, 1.0, 6_000), NUMBERS.lognormal(0.15, 1.1, 5_000)
ERROR = 1.7 / 400


def sketch(values: np.ndarray, size: int = 400) -> QuantileSketch:
    return QuantileSketch(size).absorb(values.tolist())


def test_a_sketch_is_exact_while_all_fits():
    values, shares = sketch(np.arange(100.0)).steps()
    assert values == list(range(100))
    assert shares == pytest.approx([(each + 1) / 100 for each in range(100)])


def test_a_sketch_s_ranks_are_near_and_its_memory_is_bounded():
    values = NUMBERS.permutation(np.arange(50_000.0))
    small = sketch(values)
    assert small.count == 50_000
    assert sum(map(len, small._levels)) <= 1_300
    for share in (0.01, 0.25, 0.5, 0.9, 0.999):
        assert abs(small.quantile(share) / 50_000 - share) < 1.5 * ERROR


def test_no_weight_is_lost():
    for count in (1, 399, 400, 401, 7_777):
        held = sketch(NUMBERS.normal(size=count))._levels
        assert sum(len(level) << height for height, level in enumerate(held)) == count


def test_what_has_no_rank_is_refused():
    with pytest.raises(ValueError, match="rank"):
        QuantileSketch().observe(float("nan"))


def test_the_gap_of_two_sketches_is_scipy_s_statistic():
    exact = kolmogorov_smirnov.gap(sketch(BEFORE, 10_000), sketch(AFTER, 10_000))
    assert exact == pytest.approx(stats.ks_2samp(BEFORE, AFTER).statistic)
    assert kolmogorov_smirnov.gap(sketch(BEFORE), sketch(AFTER)) == pytest.approx(exact, abs=3 * ERROR)


def test_the_gap_that_is_allowed_has_scipy_s_p_value():
    bound = kolmogorov_smirnov.allowed(6_000, 5_000, alpha=0.01)
    n = 6_000 * 5_000 / 11_000
    assert stats.kstwobign.sf(bound * np.sqrt(n)) == pytest.approx(0.01, rel=0.01)


def test_the_distance_of_two_sketches_is_scipy_s():
    exact = stats.wasserstein_distance(BEFORE, AFTER)
    assert wasserstein.distance(sketch(BEFORE, 10_000), sketch(AFTER, 10_000)) == pytest.approx(exact)
    assert wasserstein.distance(sketch(BEFORE), sketch(AFTER)) == pytest.approx(exact, rel=0.1)


def test_the_stability_index_is_the_two_entropies_of_scipy():
    edges = np.quantile(BEFORE, np.arange(1, 10) / 10).tolist()
    before, after = psi.Bins(edges), psi.Bins(edges)
    for value in BEFORE.tolist():
        before.observe(value)
    for value in AFTER.tolist():
        after.observe(value)
    p, q = np.array(before.counts) + 0.5, np.array(after.counts) + 0.5
    both = stats.entropy(p / p.sum(), q / q.sum()) + stats.entropy(q / q.sum(), p / p.sum())
    assert psi.psi(before.counts, after.counts) == pytest.approx(both)
    assert before.counts == np.histogram(BEFORE, [-np.inf, *np.nextafter(edges, np.inf), np.inf])[0].tolist()


def test_what_the_index_may_be_by_chance_is_scipy_s_chi_squared():
    for alpha in (0.05, 1e-3, 1e-6):
        told = psi.allowed(10, 1_000, 500, alpha)
        assert told == pytest.approx((1 / 1_000 + 1 / 500) * stats.chi2.isf(alpha, 9), rel=0.03)


def test_the_same_distribution_stays_below_what_is_allowed_and_another_one_does_not():
    edges = np.quantile(BEFORE, np.arange(1, 10) / 10)

    def counts(values: np.ndarray) -> list[int]:
        return np.bincount(np.searchsorted(edges, values), minlength=10).tolist()

    limit = psi.allowed(10, 6_000, 5_000)
    again = [psi.psi(counts(BEFORE), counts(NUMBERS.lognormal(0.0, 1.0, 5_000))) for _ in range(200)]
    assert max(again) < limit < psi.psi(counts(BEFORE), counts(AFTER))


def test_a_mean_of_random_features_stands_for_the_kernel():
    vectors = NUMBERS.normal(size=(40, 16))
    width = median_width(vectors)
    features = RandomFeatures(16, width, features=8_192).of(vectors)
    apart = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    assert features @ features.T == pytest.approx(np.exp(-apart / (2 * width**2)), abs=0.06)


def test_vectors_of_one_distribution_are_no_drift_and_others_are():
    mixing = NUMBERS.normal(size=(32, 32)) * np.linspace(1.0, 0.05, 32)
    draw = lambda count, shift=0.0: NUMBERS.normal(size=(count, 32)) @ mixing + shift  # noqa: E731
    reference = draw(2_000)
    features = RandomFeatures(32, median_width(reference[:200]))
    before = MeanSketch(features)
    before.observe(reference)
    limit = before.allowed(1_000, alpha=1e-4)
    told = []
    for _ in range(100):
        after = MeanSketch(features)
        after.observe(draw(1_000))
        told.append(before.discrepancy(after) / limit)
    assert max(told) < 1
    assert np.mean(told) > 0.2
    moved = MeanSketch(features)
    moved.observe(draw(1_000, shift=1.0))
    assert before.discrepancy(moved) > 2 * limit


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        MeanSketch(RandomFeatures(2, 1.0)).observe(np.array([[1.0, np.nan]]))
