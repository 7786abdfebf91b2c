"""The last number given of each kind. Whoever takes numbers holds the write lock, so none collide."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, bindparam, select, update

from services.recommender.store.schema import marks

Kind = Literal["sequence", "row", "change"]

_READ = select(marks.c.value).where(marks.c.name == bindparam("kind"))
_WRITE = update(marks).where(marks.c.name == bindparam("kind")).values(value=bindparam("last"))


def last(connection: Connection, kind: Kind) -> int:
    """Return the last number given."""
    value = connection.scalar(_READ, {"kind": kind})
    assert value is not None  # noqa: S101 - opening made the row
    return int(value)


def take(connection: Connection, kind: Kind, count: int = 1) -> int:
    """Take the next `count` numbers and return the first of them."""
    before = last(connection, kind)
    connection.execute(_WRITE, {"kind": kind, "last": before + count})
    return before + 1
