"""Events as a matrix to train from, and as rows to export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sqlalchemy import Connection, Select, literal_column, select

from services.recommender.entities import Interactions, Preference
from services.recommender.store.chunks import chunks
from services.recommender.store.database import Database
from services.recommender.store.marks import last
from services.recommender.store.schema import events, items

_READ_AT_ONCE = 50_000
_USERS_AT_ONCE = 500

_Counted: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Users, columns, weights and times, one an event."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What one user and one item have to do with each other."""

    user_id: str
    item_id: str
    weight: float
    """The sum of the events' weights by the preferences."""
    timestamp: float
    """Of the latest event."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which events count."""

    since: float = 0.0
    """Seconds; 0: from the first."""
    until: float = 0.0
    """Seconds, exclusive; 0: to the last."""
    sequence: int = 0
    """Events up to this number; 0: all."""


ALL = Window()


def read_interactions(
    database: Database, preferences: Mapping[str, Preference], window: Window = ALL
) -> tuple[Interactions, int]:
    """Return the matrix and the last sequence number in it; blocks, as the training process may.

    Users and items are in the order of their first event; an anonymous session is a user whose id is "".
    An event whose type has no preference, or whose value is below the threshold, counts for nothing; a pair
    whose weights cancel out to 0 has no entry. Times and user ids are filled. Deleted items are left out;
    hidden ones are not.
    """

    def work(connection: Connection) -> tuple[Interactions, int]:
        sequence = last(connection, "sequence")
        reader = _Reader(_item_ids(connection), preferences)
        columns = events.c
        query = _query(preferences, window).order_by(columns.sequence)
        for part in connection.execute(query.execution_options(yield_per=_READ_AT_ONCE)).partitions():
            reader.add(part)
        return reader.interactions(), min(sequence, window.sequence or sequence)

    return database.read(work)


async def pairs(
    database: Database, preferences: Mapping[str, Preference], window: Window = ALL
) -> AsyncIterator[Sequence[Pair]]:
    """Yield all pairs of users and items in batches, ordered by user: streamed, whatever the size."""
    after: str | None = ""
    while after is not None:
        batch, after = await database.reading(partial(_pairs, preferences, window, after))
        if batch:
            yield batch


class _Reader:
    """Events on their way into a matrix."""

    def __init__(self, item_ids: Mapping[int, str], preferences: Mapping[str, Preference]) -> None:
        self._item_ids = item_ids
        self._preferences = preferences
        self._users: dict[str, int] = {}
        self._columns: dict[int, int] = {}
        self._parts: list[_Counted] = []

    def add(self, rows: Sequence[Any]) -> None:
        """Take in events, in the order of the log."""
        users, columns = self._users, self._columns
        owners, numbers, weights, times = [], [], [], []
        for user_id, session_id, row, event_type, value, timestamp in rows:
            if row not in self._item_ids:
                continue
            preference = self._preferences[event_type]
            if value < preference.threshold:
                continue
            owners.append(users.setdefault(user_id or f"\x00{session_id}", len(users)))
            numbers.append(columns.setdefault(row, len(columns)))
            weights.append(preference.weight * value if preference.by_value else preference.weight)
            times.append(timestamp)
        self._parts.append(
            (np.array(owners, np.int64), np.array(numbers, np.int64), np.array(weights), np.array(times))
        )

    def interactions(self) -> Interactions:
        """Return the matrix of what was taken in."""
        rows = np.array(list(self._columns), np.int32)
        matrix, times = self._matrix()
        return Interactions(
            matrix=matrix,
            item_ids=[self._item_ids[row] for row in self._columns],
            rows=rows,
            user_ids=["" if each.startswith("\x00") else each for each in self._users],
            times=times,
        )

    def _matrix(self) -> tuple[csr_matrix, NDArray[np.float64]]:
        """Return the matrix (users, columns) of summed weights, and the latest time of each entry."""
        shape = (len(self._users), len(self._columns))
        if not self._users:
            return csr_matrix(shape, dtype=np.float32), np.empty(0)
        users, columns, weights, times = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        keys, places = np.unique(users * shape[1] + columns, return_inverse=True)
        sums = np.bincount(places, weights, len(keys))
        latest = np.zeros(len(keys))
        np.maximum.at(latest, places, times)
        kept = sums != 0
        keys, sums, latest = keys[kept], sums[kept], latest[kept]
        ends = np.concatenate([[0], np.bincount(keys // shape[1], minlength=shape[0]).cumsum()])
        matrix = csr_matrix((sums.astype(np.float32), keys % shape[1], ends), shape=shape)
        return matrix, latest


def _query(preferences: Mapping[str, Preference], window: Window) -> Select[Any]:
    columns = events.c
    query = select(
        columns.user_id,
        columns.session_id,
        columns.item_row,
        columns.event_type,
        columns.value,
        columns.timestamp,
    ).where(~columns.superseded, columns.event_type.in_(list(preferences)))
    if window.since:
        query = query.where(columns.timestamp >= window.since)
    if window.until:
        query = query.where(columns.timestamp < window.until)
    if window.sequence:
        query = query.where(columns.sequence <= window.sequence)
    return query


def _item_ids(connection: Connection) -> dict[int, str]:
    return dict(connection.execute(select(items.c.row, items.c.item_id).where(~items.c.deleted)).all())


def _pairs(
    preferences: Mapping[str, Preference], window: Window, after: str, connection: Connection
) -> tuple[Sequence[Pair], str | None]:
    """Return the pairs of the next users after this one, and the last of these; None: there are no more."""
    columns = events.c
    users = (
        select(columns.user_id)
        .distinct()
        .where(columns.user_id > after, columns.user_id != literal_column("''"))
    )
    ids = list(connection.scalars(users.order_by(columns.user_id).limit(_USERS_AT_ONCE)))
    if not ids:
        return [], None
    found: dict[tuple[str, int], tuple[float, float]] = {}
    query = _query(preferences, window).where(
        columns.user_id.in_(ids), columns.user_id != literal_column("''")
    )
    for user_id, _, row, event_type, value, timestamp in connection.execute(query):
        preference = preferences[event_type]
        if value >= preference.threshold:
            weight = preference.weight * value if preference.by_value else preference.weight
            before, latest = found.get((user_id, row), (0.0, 0.0))
            found[user_id, row] = (before + weight, max(latest, timestamp))
    rows = list({row for _, row in found})
    named = dict(_named(connection, rows))
    order = {each: index for index, each in enumerate(ids)}
    batch = [
        Pair(user_id, named[row], weight, timestamp)
        for (user_id, row), (weight, timestamp) in sorted(found.items(), key=lambda each: order[each[0][0]])
        if weight and row in named
    ]
    return batch, ids[-1]


def _named(connection: Connection, rows: Sequence[int]) -> list[tuple[int, str]]:
    query = select(items.c.row, items.c.item_id).where(~items.c.deleted)
    found: list[tuple[int, str]] = []
    for part in chunks(rows):
        found += connection.execute(query.where(items.c.row.in_(part))).all()
    return found
