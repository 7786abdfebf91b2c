"""How unsure a language model was of an answer, as a rank among answers that were good.

The entropy of the distribution of a token is H = -sum p ln p, in nats. An answer's signals are the mean and
the largest H of its tokens. Each is calibrated by the answers of a reference: the conformal p-value

    p = (1 + #{reference signals >= this one}) / (n + 1)

is at most alpha with probability at most alpha for an answer like the reference's, whatever n and the
distribution (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, proposition 2.8).
Of two signals the smaller p, doubled (Bonferroni), keeps that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log


@dataclass(frozen=True)
class AnswerEntropy:
    """The mean and the largest entropy of an answer's tokens, in nats."""

    mean: float
    largest: float


def entropy(logits: Sequence[float]) -> float:
    """Return the entropy, in nats, of the softmax of logits; -inf stands for a token that cannot come."""
    highest = max(logits)
    if not -inf < highest < inf:
        raise ValueError("logits must be finite or -inf, and not all -inf")
    weights = [(exp(each - highest), each - highest) for each in logits if each > -inf]
    total = sum(weight for weight, _ in weights)
    return max(log(total) - sum(weight * each for weight, each in weights) / total, 0.0)


def of_answer(entropies: Sequence[float]) -> AnswerEntropy:
    """Return an answer's signals; raises ValueError of no tokens."""
    if not entropies:
        raise ValueError("an answer without tokens has no entropy")
    return AnswerEntropy(sum(entropies) / len(entropies), max(entropies))


class EntropyCalibration:
    """The answers of a reference, against which others are held."""

    def __init__(self, reference: Iterable[AnswerEntropy]) -> None:
        """Keep the reference's signals; raises ValueError of none."""
        answers = list(reference)
        if not answers:
            raise ValueError("a calibration needs answers")
        self._means = sorted(each.mean for each in answers)
        self._largest = sorted(each.largest for each in answers)

    def p_value(self, answer: AnswerEntropy) -> float:
        """Return the probability of an answer as unsure as this, at most 1."""
        smaller = min(_p(self._means, answer.mean), _p(self._largest, answer.largest))
        return min(2 * smaller, 1.0)


def _p(ordered: Sequence[float], signal: float) -> float:
    return (1 + len(ordered) - bisect_left(ordered, signal)) / (len(ordered) + 1)
