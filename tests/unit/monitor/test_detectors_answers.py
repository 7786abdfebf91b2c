"""What is told of a model's answers without labels."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import optimize, special, stats

from services.monitor.detectors.cbpe import Calibration, ExpectedPerformance
from services.monitor.detectors.half_space_trees import HalfSpaceTrees
from services.monitor.detectors.token_entropy import AnswerEntropy, EntropyCalibration, entropy, of_answer


def labelled(count: int, seed: int = 1) -> list[tuple[float, bool]]:
    """Scores that are too sure of themselves: the true odds are the root of the told ones."""
    numbers = random.Random(seed)
    scores = [numbers.random() for _ in range(count)]
    return [(score, numbers.random() < special.expit(special.logit(score) / 2)) for score in scores]


def test_a_calibration_is_scipy_s_isotonic_regression():
    sample = sorted(labelled(500))
    expected = optimize.isotonic_regression([float(positive) for _, positive in sample]).x
    calibration = Calibration(sample)
    assert [calibration(score) for score, _ in sample] == pytest.approx(expected)


def test_one_score_has_one_probability_whatever_the_order_of_its_labels():
    labels = [(0.2, False), (0.5, True), (0.5, False), (0.5, True), (0.9, True)]
    assert Calibration(labels)(0.5) == pytest.approx(2 / 3)
    assert Calibration(labels[::-1])(0.5) == pytest.approx(2 / 3)


def test_the_performance_that_is_expected_is_the_one_that_labels_then_show():
    calibration, window, later = Calibration(labelled(20_000)), ExpectedPerformance(5_000), labelled(5_000, 2)
    for score, _ in later:
        window.observe(calibration(score), predicted=score > 0.5)
    told = window.estimate()
    predicted = np.array([score > 0.5 for score, _ in later])
    truth = np.array([positive for _, positive in later])
    both = (predicted & truth).sum()
    assert told.accuracy == pytest.approx((predicted == truth).mean(), abs=0.02)
    assert told.precision == pytest.approx(both / predicted.sum(), abs=0.02)
    assert told.recall == pytest.approx(both / truth.sum(), abs=0.02)
    assert told.f1 == pytest.approx(2 * both / (predicted.sum() + truth.sum()), abs=0.02)


def test_only_the_last_predictions_count():
    window = ExpectedPerformance(10)
    for _ in range(50):
        window.observe(0.1, predicted=True)
    for _ in range(10):
        window.observe(0.9, predicted=True)
    assert window.estimate().accuracy == pytest.approx(0.9)
    assert math.isnan(ExpectedPerformance().estimate().accuracy)


def test_entropy_is_scipy_s():
    logits = np.random.default_rng(1).normal(0, 3, 50)
    assert entropy(logits.tolist()) == pytest.approx(stats.entropy(special.softmax(logits)))
    assert entropy([1e4, 0.0, -math.inf]) == 0.0
    assert entropy([2.0] * 8) == pytest.approx(math.log(8))


@pytest.mark.parametrize("logits", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf]])
def test_logits_without_a_softmax_are_refused(logits: list[float]):
    with pytest.raises(ValueError, match="logits"):
        entropy(logits)


def test_good_answers_are_rarely_called_unsure_and_unsure_ones_are():
    numbers = random.Random(1)

    def answer(sharpness: float) -> AnswerEntropy:
        return of_answer([numbers.gammavariate(2.0, 1.0 / sharpness) for _ in range(30)])

    calibration = EntropyCalibration(answer(2.0) for _ in range(500))
    good = [calibration.p_value(answer(2.0)) for _ in range(2_000)]
    assert np.mean([p <= 0.05 for p in good]) <= 0.07
    assert np.median([calibration.p_value(answer(0.8)) for _ in range(100)]) <= 0.01


def test_nothing_calibrates_nothing():
    for make in (lambda: EntropyCalibration([]), lambda: Calibration([]), lambda: of_answer([])):
        with pytest.raises(ValueError):
            make()


def test_points_where_few_were_are_rare_to_half_space_trees():
    numbers, trees = np.random.default_rng(1), HalfSpaceTrees(dimensions=3)
    usual = np.clip(numbers.normal(0.4, 0.05, (1_500, 3)), 0, 1)
    told = [trees.observe(point) for point in usual.tolist()]
    assert told[:250] == [0.0] * 250
    odd = [trees.observe(point) for point in numbers.uniform(0.8, 1.0, (10, 3)).tolist()]
    assert min(odd) > np.quantile(told[500:], 0.95)


def test_the_masses_of_half_space_trees_are_those_of_the_last_window():
    """Each tree is walked by halving its box, as the paper does."""
    numbers, trees, depth = np.random.default_rng(1), 5, 6
    forest = HalfSpaceTrees(dimensions=2, trees=trees, depth=depth, window=50, seed=4)
    points = numbers.random((150, 2))
    for point in points:
        forest.observe(point.tolist())
    drawn = np.random.default_rng(4)
    axes, centres = drawn.integers(2, size=(trees, depth)), drawn.random((trees, 2))
    expected = np.zeros((trees, 2 ** (depth + 1) - 1))
    for point in points[100:]:
        for tree in range(trees):
            reach = 2 * np.maximum(centres[tree], 1 - centres[tree])
            low, high, node = centres[tree] - reach, centres[tree] + reach, 0
            expected[tree, 0] += 1
            for axis in axes[tree]:
                middle = (low[axis] + high[axis]) / 2
                right = bool(point[axis] >= middle)
                (low if right else high)[axis] = middle
                node = 2 * node + 1 + right
                expected[tree, node] += 1
    assert (forest._mass.reshape(trees, -1) == expected).all()


def test_half_space_trees_order_points_as_river_s_do():
    anomaly = pytest.importorskip(
        "river.anomaly", reason="river is not installed: its trees are not compared"
    )
    numbers = np.random.default_rng(1)
    usual, odd = np.clip(numbers.normal(0.4, 0.08, (1_000, 2)), 0, 1), numbers.random((200, 2))
    ours, theirs = HalfSpaceTrees(dimensions=2), anomaly.HalfSpaceTrees(n_trees=25, height=8, seed=1)
    told: list[tuple[float, float]] = []
    for point in [*usual.tolist(), *odd.tolist()]:
        named = {"x": point[0], "y": point[1]}
        told.append((ours.observe(point), theirs.score_one(named)))
        theirs.learn_one(named)
    assert stats.spearmanr(told[1_000:]).statistic > 0.7
