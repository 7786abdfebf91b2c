"""Arrangement: ranked candidates become a list that keeps the rules and leaves something to chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from services.recommender.serving.filters import Mask


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that may stand in the list."""

    row: int
    score: float
    source: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota over rows."""

    mask: Mask
    at_least: int
    at_most: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """A cap: the values that a row has of an attribute, and how many items may share one."""

    values: Callable[[int], Sequence[str]]
    at_most: int


@dataclass(slots=True)
class Arrangement:
    """A list in the making, of at most `length` places."""

    length: int
    limits: Sequence[Limit] = ()
    shares: Sequence[Share] = ()
    pins: dict[int, Candidate] = field(default_factory=dict)
    """By position, from 1. Pins keep no rule, but count."""
    taken: set[int] = field(default_factory=set)
    _counts: list[int] = field(init=False)
    _shared: list[Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = [0] * len(self.limits)
        self._shared = [Counter() for _ in self.shares]
        for pin in self.pins.values():
            self._count(pin.row)

    def fill(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the list: pins at their positions, else the first candidate that keeps the rules.

        The last places are kept for what quotas ask at least, where such candidates exist. Places that nobody
        may take are closed up.
        """
        waiting = [each for each in candidates if each.row not in self.taken]
        found: list[Candidate] = []
        for position in range(1, self.length + 1):
            chosen = self.pins.get(position) or self._next(waiting, self.length - position + 1)
            if chosen is not None:
                found.append(chosen)
        return found

    def _next(self, waiting: list[Candidate], places: int) -> Candidate | None:
        places -= sum(1 for position in self.pins if position > self.length - places)
        needed = self._needed()
        if needed and sum(missing for _, missing in needed) >= places:
            urgent = [limit for limit, _ in needed]
            chosen = self._first(waiting, lambda row: any(_holds(limit, row) for limit in urgent))
            if chosen is not None:
                return chosen
        return self._first(waiting, lambda _row: True)

    def _first(self, waiting: list[Candidate], fits: Callable[[int], bool]) -> Candidate | None:
        for place, each in enumerate(waiting):
            if fits(each.row) and self._allowed(each.row):
                self._count(each.row)
                return waiting.pop(place)
        return None

    def _needed(self) -> list[tuple[Limit, int]]:
        pairs = zip(self.limits, self._counts, strict=True)
        return [(limit, limit.at_least - count) for limit, count in pairs if count < limit.at_least]

    def _allowed(self, row: int) -> bool:
        for limit, count in zip(self.limits, self._counts, strict=True):
            if limit.at_most is not None and count >= limit.at_most and _holds(limit, row):
                return False
        return all(
            counter[value] < share.at_most
            for share, counter in zip(self.shares, self._shared, strict=True)
            for value in share.values(row)
        )

    def _count(self, row: int) -> None:
        self.taken.add(row)
        for place, limit in enumerate(self.limits):
            self._counts[place] += _holds(limit, row)
        for share, counter in zip(self.shares, self._shared, strict=True):
            counter.update(set(share.values(row)))


def explored(candidates: Sequence[Candidate], share: float, places: int, random: Random) -> list[Candidate]:
    """Return the candidates with this share of the first `places` given to others by lot."""
    order = list(candidates)
    for place in range(min(places, len(order))):
        if random.random() < share and place + 1 < len(order):
            drawn = order.pop(random.randrange(place + 1, len(order)))
            order.insert(place, Candidate(drawn.row, drawn.score, "explore"))
    return order


def _holds(limit: Limit, row: int) -> bool:
    return row < len(limit.mask) and bool(limit.mask[row])
