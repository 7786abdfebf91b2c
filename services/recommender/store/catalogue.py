"""The catalogue: every item, in memory as columns and on disk; a write is durable before it is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Item, Rows, Times
from services.recommender.store.attributes import Attribute, Words
from services.recommender.store.database import Database

Mask = NDArray[np.bool_]
Change = Literal["upserted", "deleted", "hidden"]
Listener = Callable[[Change, Sequence[int]], None]
"""Told in the event loop, after the commit: what happened, to which rows."""


class Catalogue:
    """The items by row, for one event loop to write and any thread to read. Rows are 0 to `len` - 1."""

    version: int
    """Grows with each change of any item: what was computed from the catalogue holds while it stays."""
    ids: list[str]
    """Item ids by row; deleted ones too."""
    timestamps: Times
    """When each item appeared, by row."""
    ttl_s: float
    """Items with a timestamp older than this are not servable; 0: no limit."""
    categories: Words
    tags: Words
    attributes: dict[str, Attribute]
    """Columns by name; see attributes.py."""

    @classmethod
    async def open(cls, database: Database, *, ttl_s: float = 0.0) -> Catalogue:
        """Read the whole catalogue."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __contains__(self, item_id: object) -> bool:
        """Whether this item exists and is not deleted."""
        raise NotImplementedError

    def row(self, item_id: str) -> int:
        """Return an item's row, -1 where there is none (a deleted item keeps its row)."""
        raise NotImplementedError

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """Return (n,) int32 rows, in order; -1 for ids that are not known."""
        raise NotImplementedError

    def item(self, row: int) -> Item:
        """Return the item whole, its embedding too. A deleted one has nothing but its id."""
        raise NotImplementedError

    def entry(self, row: int) -> Item:
        """Return the item without its embedding: a look into a list, for hot paths."""
        raise NotImplementedError

    def embedding(self, row: int) -> NDArray[np.float32] | None:
        """Return the supplied embedding, None where there is none."""
        raise NotImplementedError

    def get(self, item_id: str) -> Item:
        """Return the item whole; raises NotFound (ITEM_NOT_FOUND), for deleted ones too."""
        raise NotImplementedError

    def list(self, *, after: str = "", limit: int = 100) -> list[Item]:
        """Return up to `limit` items that are not deleted, ordered by id, those after the id `after`."""
        raise NotImplementedError

    def servable(self, now: float) -> Mask:
        """Return (len,) bool: not deleted, not hidden, valid at `now`, within the TTL. Do not write into it."""
        raise NotImplementedError

    def is_servable(self, row: int, now: float) -> bool:
        """Return what `servable` says of one row."""
        raise NotImplementedError

    async def upsert(self, items: Sequence[Item]) -> Rows:
        """Write the items, whole, new or in place of what was there, and return their rows; durable then.

        A deleted item is there again, with the row that it had. Raises as `Database.writing`.
        """
        raise NotImplementedError

    async def delete(self, item_ids: Sequence[str]) -> int:
        """Delete the items that exist and return how many did; their events stay."""
        raise NotImplementedError

    async def hide(self, item_ids: Sequence[str], *, hidden: bool = True) -> int:
        """Hide items, or show them again; return how many exist."""
        raise NotImplementedError

    def listen(self, listener: Listener) -> None:
        """Call `listener` after each change, in the order of listening."""
        raise NotImplementedError
