"""Drafts of what a sequence says next, looked up in what it holds already (prompt lookup; Saxena, 2023).

A draft's tokens are read in the same step as the token before them, and each is kept if it is what the model
chooses there, with the sequence's own parameters and random numbers: the text is the same as without drafts
(greedy or sampled), it only takes fewer steps.
"""

from __future__ import annotations

from typing import Protocol

MOST_ROWS = 16
"""Drafts are made while a step has no more rows than this, drafts with it: more rows cost too much time."""

_GRAM = 3  # tokens that must be the same for what followed to be a draft
_RATE = 0.4  # of drafted tokens kept, before anything is known
_LEARN = 0.15
_FORGET = 0.003
_TOKEN_BITS = 21
_GRAM_MASK = (1 << (_TOKEN_BITS * _GRAM)) - 1


class PromptLookup:
    """An index of the runs of three tokens of one sequence, and how well its drafts have done."""

    def __init__(self) -> None:
        self._after: dict[int, int] = {}  # where the latest run goes on; the last tokens' own is not in it
        self._read = 0
        self._gram = 0
        self.rate = _RATE
        """The share of drafted tokens that were kept, as far as they were looked at: a moving average."""

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """Return up to `most` tokens that followed when the last three came before; a loop goes on as such.

        `tokens` are those of the call before and new ones behind them. Takes time for the new ones alone.
        """
        for place in range(self._read, len(tokens)):
            if place >= _GRAM:
                self._after[self._gram] = place
            self._gram = (self._gram << _TOKEN_BITS | tokens[place]) & _GRAM_MASK
        self._read = len(tokens)
        start = self._after.get(self._gram)
        if start is None or len(tokens) < _GRAM:
            return []
        period = len(tokens) - start
        return [tokens[start + place % period] for place in range(most)]

    def learn(self, drafted: int, kept: int) -> None:
        """Take in how a draft has done. What comes behind the first wrong token says nothing."""
        for _ in range(kept):
            self.rate += _LEARN * (1 - self.rate)
        if kept < drafted:
            self.rate -= _LEARN * self.rate

    def forget(self) -> None:
        """Take in that a draft was not tried: slowly the sequence gets another chance."""
        self.rate += _FORGET * (_RATE - self.rate)


class Costs(Protocol):
    """What steps cost."""

    def seconds(self, rows: int) -> float:
        """Return how long a step of so many rows takes."""


def draft(lookup: PromptLookup, tokens: list[int], most: int, rows: int, costs: Costs) -> list[int]:
    """Return a draft of at most `most` tokens for one of `rows` sequences that make a token each.

    It is as long as pays: the token in place k is kept with a chance of rate^k, and is worth that share of
    what a token costs without drafts.
    """
    most = min(most, MOST_ROWS // rows - 1)
    found = lookup.propose(tokens, most) if most > 0 else []
    length = _paying(lookup.rate, len(found), rows, costs)
    if found and not length:
        lookup.forget()
    return found[:length]


def _paying(rate: float, most: int, rows: int, costs: Costs) -> int:
    before = costs.seconds(rows)
    worth = before / rows
    for length in range(most):
        after = costs.seconds(rows + length + 1)
        if rate ** (length + 1) * worth < after - before:
            return length
        before = after
    return most
