"""Which worker gets a call: first the longest cached prefix counts, then the fewest outstanding tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from gateway.front.calls import Ids


class Candidate(Protocol):
    """What is compared of a worker."""

    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def outstanding_tokens(self) -> int: ...  # noqa: D102


C = TypeVar("C", bound=Candidate)
PrefixScore = Callable[[str, Ids], int]
"""Takes a worker's address and a prompt; returns how many of its first tokens that worker has cached."""


def no_prefix(address: str, ids: Ids) -> int:  # noqa: ARG001 - a PrefixScore
    """Know of no cached prefix."""
    return 0


class Picker:
    """Two random choices, compared: near the best balance, and fronts that do not see each other do not herd.

    (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.)
    """

    def __init__(self, score: PrefixScore = no_prefix, chance: random.Random | None = None) -> None:
        self._score = score
        self._chance = chance or random.Random()  # noqa: S311 - balances load, keeps no secret

    def pick(self, candidates: Sequence[C], ids: Ids) -> C:
        """Return one of `candidates`, of which there is at least one."""
        if len(candidates) == 1:
            return candidates[0]
        scores = [self._score(each.address, ids) for each in candidates]
        best = max(scores)
        equals = [each for each, score in zip(candidates, scores, strict=True) if score == best]
        pair = self._chance.sample(equals, min(2, len(equals)))
        return min(pair, key=lambda each: each.outstanding_tokens)
