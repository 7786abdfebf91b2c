"""The catalogue: every item, in memory as columns and on disk; a write is durable before it is seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from services.kit.errors import NotFound, Reason
from services.recommender.entities import Item, Rows, Times
from services.recommender.store.attributes import Attribute, Mask, Words
from services.recommender.store.database import Database
from services.recommender.store.item_rows import (
    ItemRow,
    as_row,
    delete_items,
    mark_items,
    read_items,
    write_items,
)
from services.recommender.store.marks import last
from services.recommender.store.shelf import Shelf

Change = Literal["upserted", "deleted", "hidden"]
Listener = Callable[[Change, Sequence[int]], None]
"""Told in the event loop, after the commit: what happened, to which rows."""
_LOGGER = logging.getLogger(__name__)


class Catalogue:
    """The items by row, for one event loop to write and any thread to read. Rows are 0 to `len` - 1."""

    def __init__(self, database: Database, *, ttl_s: float = 0.0) -> None:
        """Begin with no item: `open` reads what there is."""
        self._database = database
        self._shelf = Shelf(ttl_s)
        self._listeners: list[Listener] = []
        self._change = 0

    @classmethod
    async def open(cls, database: Database, *, ttl_s: float = 0.0) -> Catalogue:
        """Read the whole catalogue. `ttl_s`: items that appeared longer ago are not servable; 0: no limit."""
        catalogue = cls(database, ttl_s=ttl_s)
        change, rows = await database.reading(_read_all)
        catalogue._change = change
        catalogue._shelf.put(rows)
        return catalogue

    def __len__(self) -> int:
        return len(self._shelf.ids)

    def __contains__(self, item_id: object) -> bool:
        """Whether this item exists and is not deleted."""
        row = self._shelf.rows.get(item_id, -1) if isinstance(item_id, str) else -1
        return row >= 0 and not self._shelf.deleted[row]

    @property
    def version(self) -> int:
        """Grows with each change of any item: what was computed from the catalogue holds while it stays."""
        return self._shelf.version

    @property
    def ids(self) -> Sequence[str]:
        """Item ids by row, deleted ones too. Read only."""
        return self._shelf.ids

    @property
    def timestamps(self) -> Times:
        """When each item appeared, by row; 0: not said."""
        return self._shelf.timestamps

    @property
    def categories(self) -> Words:
        """Which rows have which categories."""
        return self._shelf.categories

    @property
    def tags(self) -> Words:
        """Which rows have which tags."""
        return self._shelf.tags

    @property
    def attributes(self) -> dict[str, Attribute]:
        """Columns by name; see attributes.py."""
        return self._shelf.attributes

    def row(self, item_id: str) -> int:
        """Return an item's row, -1 where there is none (a deleted item keeps its row)."""
        return self._shelf.rows.get(item_id, -1)

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """Return (n,) int32 rows, in order; -1 for ids that are not known."""
        rows = self._shelf.rows
        return np.array([rows.get(each, -1) for each in item_ids], np.int32)

    def item(self, row: int) -> Item:
        """Return the item whole, its embedding too. A deleted one has nothing but its id."""
        embedding = self.embedding(row)
        entry = self._shelf.entries[row]
        return entry if embedding is None else replace(entry, embedding=tuple(embedding.tolist()))

    def entry(self, row: int) -> Item:
        """Return the item without its embedding: a look into a list, for hot paths."""
        return self._shelf.entries[row]

    def embedding(self, row: int) -> NDArray[np.float32] | None:
        """Return the supplied embedding, None where there is none."""
        return self._shelf.embeddings.get(row)

    def get(self, item_id: str) -> Item:
        """Return the item whole; raises NotFound (ITEM_NOT_FOUND), for deleted ones too."""
        if item_id not in self:
            message = f"there is no item {item_id!r}"
            raise NotFound(Reason.ITEM_NOT_FOUND, message, metadata={"item_id": item_id})
        return self.item(self.row(item_id))

    def list(self, *, after: str = "", limit: int = 100) -> Sequence[Item]:
        """Return up to `limit` items that are not deleted, ordered by id, those after the id `after`."""
        return [self.item(row) for row in self._shelf.after(after, limit)]

    def servable(self, now: float) -> Mask:
        """Return (len,) bool: not deleted nor hidden, valid at `now`, within the TTL. Read only."""
        return self._shelf.servable(now)

    def is_servable(self, row: int, now: float) -> bool:
        """Return what `servable` says of one row."""
        return bool(self._shelf.servable(now)[row])

    async def upsert(self, items: Sequence[Item]) -> Rows:
        """Write the items, whole, new or in place of what was there, and return their rows; durable then.

        A deleted item is there again, with the row that it had. Of several with one id the last counts.
        Raises as `Database.writing`.
        """
        written = list({each.item_id: each for each in items}.values())
        rows = await self._database.writing(
            lambda connection: write_items(connection, written, self._database.origin),
            lambda rows: self._put("upserted", [as_row(*each) for each in zip(rows, written, strict=True)]),
        )
        known = dict(zip((each.item_id for each in written), rows, strict=True))
        return np.array([known[each.item_id] for each in items], np.int32)

    async def delete(self, item_ids: Sequence[str]) -> int:
        """Delete the items that exist and return how many did; their events stay."""
        rows = self._existing(item_ids)
        gone = [ItemRow(row, Item(self.ids[row]), None, deleted=True) for row in rows]
        await self._database.writing(
            lambda connection: delete_items(connection, rows, self._database.origin),
            lambda _: self._put("deleted", gone),
        )
        return len(rows)

    async def hide(self, item_ids: Sequence[str], *, hidden: bool = True) -> int:
        """Hide items, or show them again; return how many exist."""
        rows = self._existing(item_ids)
        await self._database.writing(
            lambda connection: mark_items(connection, rows, self._database.origin, {"hidden": hidden}),
            lambda _: self._hidden(rows, hidden=hidden),
        )
        return len(rows)

    def listen(self, listener: Listener) -> None:
        """Call `listener` after each change, in the order of listening."""
        self._listeners.append(listener)

    def entered(self, rows: Mapping[str, int]) -> None:
        """Take in items that the log entered with their ids alone, unless they are known by now."""
        self._put(
            "upserted", [ItemRow(row, Item(each), None) for each, row in rows.items() if self.row(each) < 0]
        )

    async def refresh(self) -> None:
        """Take in what other replicas have written since the last time."""
        after, origin = self._change, self._database.origin
        change, rows = await self._database.reading(lambda connection: _read_all(connection, after, origin))
        self._change = max(self._change, change)
        self._put("upserted", [each for each in rows if not each.deleted])
        self._put("deleted", [each for each in rows if each.deleted])

    def _existing(self, item_ids: Sequence[str]) -> Sequence[int]:
        return [self.row(each) for each in dict.fromkeys(item_ids) if each in self]

    def _hidden(self, rows: Sequence[int], *, hidden: bool) -> None:
        entries, embeddings = self._shelf.entries, self._shelf.embeddings
        # Deleted meanwhile: nothing to hide.
        there = [row for row in rows if not self._shelf.deleted[row]]
        changed = [ItemRow(row, replace(entries[row], hidden=hidden), embeddings.get(row)) for row in there]
        self._put("hidden", changed)

    def _put(self, change: Change, rows: Sequence[ItemRow]) -> None:
        if not rows:
            return
        self._shelf.put(rows)
        numbers = [each.row for each in rows]
        for listener in self._listeners:
            try:
                listener(change, numbers)
            except Exception:
                _LOGGER.exception("a listener of the catalogue failed")


def _read_all(
    connection: Connection, after: int | None = None, origin: int = 0
) -> tuple[int, Sequence[ItemRow]]:
    change = last(connection, "change")
    return change, list(read_items(connection, after=after, origin=origin))
