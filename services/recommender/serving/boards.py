"""Boards: sources that know no user - popular, trending, latest - in order, and scores of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Floats
from services.recommender.serving.filters import Mask
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.counters import Popularity

_FRESH_S = 0.5
"""How old an order may be: sorting 100,000 rows takes 6 ms."""


class Boards:
    """Orders of all rows. Belongs to one event loop."""

    def __init__(self, catalogue: Catalogue, popularity: Popularity, clock: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._popularity = popularity
        self._clock = clock
        self._orders: dict[tuple[str, float], tuple[float, int, NDArray[np.intp], Floats]] = {}

    def scores(self, name: str, half_life: float = 0.0) -> Floats:
        """Return (rows,) float32: choices, their rate over the usual one, or the time of appearance."""
        return self._order(name, half_life)[1]

    def best(
        self, name: str, mask: Mask, count: int, half_life: float = 0.0, without: Iterable[int] = ()
    ) -> list[tuple[int, float]]:
        """Return up to `count` (row, score) where `mask` holds, best first, but for some rows."""
        order, scores = self._order(name, half_life)
        left_out = set(without)
        allowed = order[order < len(mask)]
        allowed = allowed[mask[allowed]][: count + len(left_out)]
        found = [int(row) for row in allowed if int(row) not in left_out][:count]
        return [(row, float(scores[row])) for row in found]

    def _order(self, name: str, half_life: float) -> tuple[NDArray[np.intp], Floats]:
        now, version = self._clock(), self._catalogue.version
        kept = self._orders.get((name, half_life))
        if kept is not None and kept[1] == version and 0 <= now - kept[0] < _FRESH_S:
            return kept[2], kept[3]
        scores = self._scores(name, half_life, now)
        # Times of today differ by less than float32 can tell.
        exact = self._catalogue.timestamps[: len(scores)] if name == "latest" else scores
        order = np.argsort(-exact, kind="stable")
        self._orders[(name, half_life)] = (now, version, order, scores)
        return order, scores

    def _scores(self, name: str, half_life: float, now: float) -> Floats:
        if name == "latest":
            return np.asarray(self._catalogue.timestamps, np.float32)
        if name == "trending":
            return self._popularity.trending(now)
        return self._popularity.scores(half_life or self._popularity.half_lives[-1], now)
