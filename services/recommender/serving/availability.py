"""What may be shown: servable items that a filter finds, as masks over rows and over a version's columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from services.recommender.entities import Floats, Rows
from services.recommender.serving.filters import Filters, Mask
from services.recommender.serving.served import Served
from services.recommender.store.catalogue import Catalogue

_KEPT = 64


class Availability:
    """Masks by filter, kept while neither the catalogue nor the hour of an item changes."""

    def __init__(self, catalogue: Catalogue, filters: Filters, clock: Callable[[], float]) -> None:
        self.filters = filters
        self._catalogue = catalogue
        self._clock = clock
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], tuple[Mask, int, Floats]] = OrderedDict()

    def rows(self, texts: Iterable[str]) -> Mask:
        """Return (rows,) bool: servable now and found by all the filters. Not to be written into."""
        now = self._clock()
        mask = self._catalogue.servable(now)
        for text in texts:
            mask = mask & self.filters.mask(text, now)
        return mask

    def columns(self, served: Served, texts: tuple[str, ...]) -> Floats:
        """Return (columns,) float32 to add to scores: 0 for what may be shown, -inf for what may not."""
        servable = self._catalogue.servable(self._clock())
        key, version = (served.version, texts), self._catalogue.version
        kept = self._kept.get(key)
        if kept is not None and kept[0] is servable and kept[1] == version and not self._ages(texts):
            return kept[2]
        penalty = np.where(self.in_columns(served, self.rows(texts)), np.float32(0), np.float32(-np.inf))
        self._kept[key] = (servable, version, penalty)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return penalty

    def boost(self, served: Served, text: str) -> Mask:
        """Return (columns,) bool: where a filter holds."""
        return self.in_columns(served, self.filters.mask(text, self._clock()))

    @staticmethod
    def in_columns(served: Served, mask: Mask) -> Mask:
        """Return (columns,) what a mask over rows says of a version's columns."""
        rows: Rows = served.rows
        known = (rows >= 0) & (rows < len(mask))
        return np.asarray(mask[np.where(known, rows, 0)] & known, dtype=bool) if len(mask) else known

    def _ages(self, texts: tuple[str, ...]) -> bool:
        return any(self.filters.ages(each) for each in texts)
