"""Fresh items: what came since the version was trained, told by content from what the user knows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Floats
from services.recommender.serving.content_index import ContentIndex
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Taste
from services.recommender.store.catalogue import Catalogue

MOST = 256
"""The newest that are looked at."""
_KEPT = 10_000
_LATEST = 50
"""Items of a history that speak for fresh ones."""


@dataclass(frozen=True, slots=True)
class _Scores:
    """What was found for a taste; it holds while the taste, the catalogue and the version stay."""

    taste: Taste
    state: tuple[int, int]
    rows: int
    scores: Floats


class Fresh:
    """The rows above those of the version's training, and how like each is to what a user knows."""

    def __init__(self, catalogue: Catalogue, content: ContentIndex, clock: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._content = content
        self._clock = clock
        self._rows: NDArray[np.int32] = np.empty(0, np.int32)
        self._state: tuple[int, int] = (-1, -1)
        self._scores: OrderedDict[int, _Scores] = OrderedDict()

    def rows(self, served: Served) -> NDArray[np.int32]:
        """Return the servable rows that training could not know, the newest last."""
        state = (self._catalogue.version, served.newest_row)
        if state != self._state:
            since = max(served.newest_row + 1, len(self._catalogue) - MOST)
            self._rows = np.arange(since, len(self._catalogue), dtype=np.int32)
            self._state = state
        if not len(self._rows):
            return self._rows
        return self._rows[self._catalogue.servable(self._clock())[self._rows]]

    def scores(self, rows: NDArray[np.int32], taste: Taste) -> Floats:
        """Return (rows,) float32: the weighted likeness of each to the latest items of a taste."""
        kept = self._scores.get(id(taste))
        if kept is not None and kept.taste is taste and kept.state == self._state and kept.rows == len(rows):
            return kept.scores
        latest = np.argsort(-taste.recent, kind="stable")[:_LATEST]
        known, weights = taste.rows[latest], taste.weights[latest]
        scores = np.asarray(self._content.between(rows.tolist(), known.tolist()) @ weights, np.float32)
        self._scores[id(taste)] = _Scores(taste, self._state, len(rows), scores)
        if len(self._scores) > _KEPT:
            self._scores.popitem(last=False)
        return scores
