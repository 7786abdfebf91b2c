"""A classifier's performance before its labels come: confidence-based performance estimation.

Where probabilities are calibrated, a prediction that is made with probability p is right with probability p:

    accuracy = mean p,   precision = sum_{predicted} p / #predicted,
    recall = sum_{predicted} p / sum_{all} p,   F1 = 2 sum_{predicted} p / (#predicted + sum_{all} p)

of the expected counts of the confusion matrix (Kivimäki et al., "Confidence-based Estimators for Predictive
Performance in Model Monitoring", JAIR 82, 2025). `Calibration` makes probabilities calibrated from a past
sample with labels, by isotonic regression (pool adjacent violators: Ayer et al. 1955; Zadrozny and Elkan, KDD
2002). It holds while inputs drift and what they mean does not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """What is expected of a window of predictions; NaN where nothing was predicted so."""

    accuracy: float
    precision: float
    recall: float
    f1: float


class Calibration:
    """Scores to probabilities, by a staircase that never falls."""

    def __init__(self, labelled: Iterable[tuple[float, bool]]) -> None:
        """Learn from scores and whether each was of the positive class; raises ValueError of none."""
        counts: dict[float, list[int]] = defaultdict(lambda: [0, 0])
        for score, positive in labelled:
            counts[score][0] += positive
            counts[score][1] += 1
        blocks: list[tuple[float, int, int]] = []  # least score, positives, count
        for least, (positives, count) in sorted(counts.items()):
            while blocks and blocks[-1][1] * count >= positives * blocks[-1][2]:
                least, more, others = blocks.pop()  # noqa: PLW2901 - the block grows to the left
                positives, count = positives + more, count + others  # noqa: PLW2901
            blocks.append((least, positives, count))
        if not blocks:
            raise ValueError("a calibration needs labels")
        self._starts = [least for least, _, _ in blocks]
        self._levels = [positives / count for _, positives, count in blocks]

    def __call__(self, score: float) -> float:
        """Return the probability of the positive class."""
        return self._levels[max(bisect_right(self._starts, score) - 1, 0)]


class ExpectedPerformance:
    """The last `keep` predictions of a binary classifier."""

    def __init__(self, keep: int = 1_000) -> None:
        if keep < 1:
            raise ValueError("keep must be above 0")
        self._keep = keep
        self._window: deque[tuple[float, bool]] = deque()
        self._right = self._true_positives = self._positives = 0.0
        self._predicted = 0

    def observe(self, probability: float, *, predicted: bool) -> None:
        """Add a prediction: the calibrated probability of the positive class, and whether that was said."""
        if not 0 <= probability <= 1:
            raise ValueError("a probability lies between 0 and 1")
        self._count(probability, 1, predicted=predicted)
        self._window.append((probability, predicted))
        if len(self._window) > self._keep:
            oldest, said = self._window.popleft()
            self._count(oldest, -1, predicted=said)

    def estimate(self) -> Estimate:
        """Return what is expected of the window."""
        return Estimate(
            _ratio(self._right, len(self._window)),
            _ratio(self._true_positives, self._predicted),
            _ratio(self._true_positives, self._positives),
            _ratio(2 * self._true_positives, self._predicted + self._positives),
        )

    def _count(self, probability: float, sign: int, *, predicted: bool) -> None:
        self._right += sign * (probability if predicted else 1 - probability)
        self._positives += sign * probability
        self._true_positives += sign * probability * predicted
        self._predicted += sign * predicted


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 1e-12 else float("nan")
