"""Tastes: histories as the weights that models read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats, History, Preference, Rows
from services.recommender.models.model import Reads
from services.recommender.models.recency import recency

_KEPT = 50_000
"""Tastes that are kept: about a kilobyte each."""
_NOTHING = Preference(0.0, marks_seen=False)


@dataclass(frozen=True, slots=True)
class Taste:
    """What a history says of each item in it: aligned arrays, by ascending row, each row once."""

    rows: Rows
    """Items that say something."""
    weights: Floats
    """By the preferences, summed up; never 0."""
    recent: Floats
    """The weights, fading with each later item."""
    values: Floats
    """The latest rating of each item, NaN where there is none."""
    seen: Rows
    """Items that an event which marks them as seen is of."""

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, reads: Reads) -> Floats:
        """Return the weights in the way that a model wants."""
        return {"preference": self.weights, "recency": self.recent, "value": self.values}[reads]


class Tastes:
    """Makes tastes by the preferences, and keeps those of unchanged histories. Belongs to one event loop."""

    def __init__(
        self,
        preferences: Mapping[str, Preference],
        value_types: Collection[str] = ("rating",),
        kept: int = _KEPT,
    ) -> None:
        """Weigh by the preferences; values of events of `value_types` are ratings."""
        self._preferences = preferences
        self._value_types = frozenset(value_types)
        self._kept = kept
        self._tastes: OrderedDict[str, tuple[History, Taste]] = OrderedDict()

    def of(self, user_id: str, history: History) -> Taste:
        """Return the user's taste; the very history that it was made of last time says the same again."""
        found = self._tastes.get(user_id)
        if found is not None and found[0] is history:
            self._tastes.move_to_end(user_id)
            return found[1]
        taste = self.make(history)
        self._tastes[user_id] = (history, taste)
        if len(self._tastes) > self._kept:
            self._tastes.popitem(last=False)
        return taste

    def forget(self, *user_ids: str) -> None:
        """Drop what is kept of users."""
        for user_id in user_ids:
            self._tastes.pop(user_id, None)

    def make(self, history: History) -> Taste:
        """Return what a history says."""
        weights = self._weights(history)
        rows, last, inverse = _latest(history.rows)
        ratings = np.full(len(rows), np.nan, np.float32)
        rated = np.array([each in self._value_types for each in history.types], bool)
        ratings[inverse[rated]] = history.values[rated]  # the latest stays
        sums = np.bincount(inverse, weights, minlength=len(rows)).astype(np.float32)
        marks = np.array([self._preference(each).marks_seen for each in history.types], bool)
        told = np.flatnonzero(sums)
        # The latest event of each item places it in the order of time.
        order = np.argsort(last[told], kind="stable")
        fading = np.empty(len(told), np.float32)
        fading[order] = recency(len(told))
        return Taste(
            rows=rows[told],
            weights=sums[told],
            recent=sums[told] * fading,
            values=ratings[told],
            seen=np.unique(history.rows[marks]),
        )

    def seen(self, history: History, types: Sequence[str], since: float) -> Rows:
        """Return the rows of events of these types (none: those that mark), not older than `since`."""
        wanted = set(types)
        counts = [each in wanted if wanted else self._preference(each).marks_seen for each in history.types]
        return np.unique(history.rows[np.array(counts, bool) & (history.times >= since)])

    def _preference(self, event_type: str) -> Preference:
        return self._preferences.get(event_type, _NOTHING)

    def _weights(self, history: History) -> NDArray[np.float64]:
        known = {each: self._preference(each) for each in set(history.types)}
        parts = [known[each] for each in history.types]
        weights = np.array([each.weight for each in parts], np.float64)
        values = history.values
        if any(each.by_value for each in known.values()):
            weights *= np.where([each.by_value for each in parts], values, 1.0)
        if any(each.threshold for each in known.values()):
            weights[values < np.array([each.threshold for each in parts])] = 0.0
        return weights


def matrix(tastes: Sequence[Taste], columns: NDArray[np.int32], items: int, reads: Reads) -> csr_matrix:
    """Return (B, items) histories over a model's columns; `columns` gives a row's column, -1 for none."""
    parts = [_in_columns(each, columns, reads) for each in tastes]
    ends = np.zeros(len(parts) + 1, np.int32)
    np.cumsum([len(indices) for indices, _ in parts], out=ends[1:])
    indices = np.concatenate([indices for indices, _ in parts])
    data = np.concatenate([data for _, data in parts])
    return csr_matrix((data, indices, ends), shape=(len(tastes), items), copy=False)


def _in_columns(taste: Taste, columns: NDArray[np.int32], reads: Reads) -> tuple[NDArray[np.int32], Floats]:
    rows, data = taste.rows, taste.read(reads)
    inside = rows < len(columns)
    if reads == "value":
        inside &= ~np.isnan(data)
    if not inside.all():
        rows, data = rows[inside], data[inside]
    found = columns[rows]
    known = found >= 0
    return (found, data) if known.all() else (found[known], data[known])


def _latest(rows: Rows) -> tuple[Rows, NDArray[np.intp], NDArray[np.intp]]:
    """Return the different rows, the last place of each, and for each place which of the rows it has."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    last = np.zeros(len(distinct), np.intp)
    last[inverse] = np.arange(len(rows))  # of several assignments to a place the last one stays
    return distinct, last, inverse
