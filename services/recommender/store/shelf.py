"""The catalogue's memory: items by row, and what is asked of all of them at once as columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Item, Times
from services.recommender.store.attributes import Attribute, Mask, Words
from services.recommender.store.columns import Growing
from services.recommender.store.item_rows import ItemRow


@dataclass(frozen=True, slots=True)
class _Servable:
    """A mask, and while what it is true."""

    mask: Mask
    version: int
    since: float
    until: float


class Shelf:
    """Items in memory. One thread puts; what others read is whole: arrays that grow are replaced."""

    def __init__(self, ttl_s: float = 0.0) -> None:
        self._ttl_s = ttl_s
        self.version = 0
        self.ids: list[str] = []
        self.rows: dict[str, int] = {}
        self.entries: list[Item] = []
        self.embeddings: dict[int, NDArray[np.float32]] = {}
        self.categories, self.tags = Words(), Words()
        self.attributes: dict[str, Attribute] = {}
        self._timestamps = Growing(np.float64, 0.0)
        self._valid_from = Growing(np.float64, 0.0)
        self._valid_until = Growing(np.float64, 0.0)
        self._hidden = Growing(np.bool_, fill=True)
        self._deleted = Growing(np.bool_, fill=True)
        self._servable = _Servable(np.empty(0, bool), -1, 0.0, 0.0)
        self._sorted: list[str] = []
        self._unsorted: list[str] = []

    @property
    def timestamps(self) -> Times:
        """(rows,) when items appeared."""
        return self._timestamps.array

    @property
    def deleted(self) -> Mask:
        """(rows,) which items are deleted."""
        return self._deleted.array

    def put(self, rows: Sequence[ItemRow]) -> None:
        """Take in items as they are now."""
        self._grow(max((each.row for each in rows), default=-1) + 1)
        for each in rows:
            self._put(each)
        self.version += 1

    def after(self, item_id: str, limit: int) -> list[int]:
        """Return the rows of up to `limit` items that are there, ordered by id, after this id."""
        if self._unsorted:
            self._sorted.extend(self._unsorted)
            self._sorted.sort()
            self._unsorted = []
        found: list[int] = []
        for index in range(bisect_right(self._sorted, item_id), len(self._sorted)):
            row = self.rows[self._sorted[index]]
            if not self._deleted.array[row]:
                found.append(row)
            if len(found) >= limit:
                break
        return found

    def servable(self, now: float) -> Mask:
        """Return which items may be shown; computed anew when an item has changed, or time has for one."""
        kept = self._servable
        if kept.version != self.version or not kept.since <= now < kept.until:
            kept = self._servable = self._judge(now)
        return kept.mask

    def _judge(self, now: float) -> _Servable:
        version, size = self.version, len(self.ids)
        begins, ends = self._valid_from.array[:size], self._valid_until.array[:size]
        ends = np.where(ends > 0, ends, inf)
        if self._ttl_s > 0:
            appeared = self._timestamps.array[:size]
            ends = np.minimum(ends, np.where(appeared > 0, appeared + self._ttl_s, inf))
        mask = ~(self._deleted.array[:size] | self._hidden.array[:size]) & (begins <= now) & (now < ends)
        ahead = [each[each > now].min(initial=inf) for each in (begins, ends)]
        return _Servable(mask, version, now, min(ahead))

    def _grow(self, size: int) -> None:
        for times in (self._timestamps, self._valid_from, self._valid_until):
            times.grow(size)
        for flags in (self._hidden, self._deleted):
            flags.grow(size)
        self.categories.grow(size)
        self.tags.grow(size)
        for column in self.attributes.values():
            column.grow(size)
        for _ in range(len(self.ids), size):
            # Another replica's item that has not arrived yet: not there, whatever is asked.
            self.ids.append("")
            self.entries.append(Item(""))

    def _put(self, each: ItemRow) -> None:
        row, item = each.row, each.item
        if self.ids[row] != item.item_id:
            self.ids[row] = item.item_id
            self.rows[item.item_id] = row
            self._unsorted.append(item.item_id)
        before, self.entries[row] = self.entries[row], item
        if each.embedding is None:
            self.embeddings.pop(row, None)
        else:
            self.embeddings[row] = each.embedding
        self._timestamps[row] = item.timestamp
        self._valid_from[row] = item.valid_from
        self._valid_until[row] = item.valid_until
        self._hidden[row] = item.hidden
        self._deleted[row] = each.deleted
        self._put_words(row, before, item)

    def _put_words(self, row: int, before: Item, item: Item) -> None:
        self.categories.put(row, item.categories)
        self.tags.put(row, item.tags)
        for name in before.attributes.keys() - item.attributes.keys():
            self.attributes[name].put(row, None)
        for name, value in item.attributes.items():
            column = self.attributes.get(name)
            if column is None:
                column = self.attributes[name] = Attribute(len(self.ids))
            column.put(row, value)
