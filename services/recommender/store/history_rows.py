"""Histories read from the log: the latest events of users or sessions, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from sys import intern
from typing import Any, Literal

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from services.recommender.entities import History
from services.recommender.store.chunks import chunks
from services.recommender.store.schema import events
from services.recommender.store.slot import Loaded

_EMPTY: ColumnElement[str] = literal_column("''")
"""Beside a key, and no parameter, it lets SQLite take the index, which holds the keys that are not empty."""
_SCANNED = 20
"""How many of the latest events are looked at for each user that is wanted."""


def read_histories(
    connection: Connection, owner: Literal["user_id", "session_id"], ids: Sequence[str], limit: int
) -> dict[str, Loaded]:
    """Return the latest `limit` events of each id that has any."""
    if len(ids) == 1:
        return _one(connection, owner, ids[0], limit)
    found: dict[str, Loaded] = {}
    columns = events.c
    key = columns[owner]
    for part in chunks(ids):
        rank = func.row_number().over(partition_by=key, order_by=columns.sequence.desc()).label("rank")
        ranked = _columns(key, rank).where(key.in_(part), key != _EMPTY, ~columns.superseded).subquery()
        query = select(ranked).where(ranked.c.rank <= limit)
        query = query.order_by(ranked.c[owner], ranked.c.timestamp, ranked.c.sequence)
        for each, rows in groupby(connection.execute(query), key=itemgetter(0)):
            found[each] = _loaded(list(rows))
    return found


def read_latest_users(connection: Connection, limit: int) -> list[str]:
    """Return up to `limit` users of the latest events, the latest first."""
    columns = events.c
    query = select(columns.user_id).where(columns.user_id != "")
    latest = connection.scalars(query.order_by(columns.sequence.desc()).limit(limit * _SCANNED))
    return list(dict.fromkeys(latest))[:limit]


def _one(connection: Connection, owner: str, each: str, limit: int) -> dict[str, Loaded]:
    columns = events.c
    owned = (columns[owner] == each, columns[owner] != _EMPTY)
    query = _columns(columns[owner]).where(*owned, ~columns.superseded)
    rows = connection.execute(query.order_by(columns.sequence.desc()).limit(limit)).all()
    ordered = sorted(rows, key=lambda row: (row.timestamp, row.sequence))
    return {each: _loaded(ordered)} if ordered else {}


def _columns(key: Any, *more: Any) -> Select[Any]:
    columns = events.c
    return select(
        key, columns.sequence, columns.item_row, columns.event_type, columns.value, columns.timestamp, *more
    )


def _loaded(rows: Sequence[Any]) -> Loaded:
    history = History(
        np.array([row[2] for row in rows], np.int32),
        # Each type once in memory, however many events have it.
        tuple(intern(row[3]) for row in rows),
        np.array([row[4] for row in rows], np.float32),
        np.array([row[5] for row in rows], np.float64),
    )
    return Loaded(history, max(row[1] for row in rows))
