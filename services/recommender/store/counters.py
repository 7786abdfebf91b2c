"""Popularity: how much each item was chosen, recent choices counting more.

Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay", ICDE 2009): a choice of weight w at
time t adds w · 2^((t - t₀) / h), and what is read as of time T is the sum · 2^(-(T - t₀) / h): nothing is
touched to age. T is the time of the newest choice: between choices all items fade alike, so no order changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, cast, false, func, or_, select

from services.recommender.entities import Floats, Preference
from services.recommender.store.columns import Growing
from services.recommender.store.database import Database
from services.recommender.store.schema import events
from services.recommender.store.stored import Choice, Removed, Stored

HALF_LIVES_S = (86_400.0, 7 * 86_400.0, 30 * 86_400.0)
_BUCKETS = 24
"""Times are rounded to so many a shortest half-life when what is stored is counted."""
_REBASE = 200.0
"""Half-lives after which t₀ moves on, far from where numbers overflow."""
_DAMPING = 3.0
"""Choices at the usual rate that every item is credited with, now and usually, when rates are compared."""

_Numbers = NDArray[np.float64]
_Arrays = tuple[NDArray[np.int64], _Numbers, _Numbers, _Numbers]
"""Rows, weights, times, and how many choices each is."""


class Popularity:
    """Decayed choices by row, for several half-lives. Belongs to one event loop."""

    def __init__(
        self, preferences: Mapping[str, Preference], half_lives: tuple[float, ...] = HALF_LIVES_S
    ) -> None:
        """Count events by `preferences`: types without one, or with one of 0 or less, do not count."""
        self._preferences = {name: each for name, each in preferences.items() if each.weight > 0}
        self.half_lives = tuple(sorted(half_lives))
        """Seconds, ascending."""
        self._decayed = [Growing(np.float64, 0.0) for _ in half_lives]
        self._counts = Growing(np.float64, 0.0)
        self._zero = 0.0
        self._newest = 0.0

    @classmethod
    async def open(
        cls,
        database: Database,
        preferences: Mapping[str, Preference],
        half_lives: tuple[float, ...] = HALF_LIVES_S,
    ) -> Popularity:
        """Count what is stored, by one GROUP BY."""
        popularity = cls(preferences, half_lives)
        await popularity.rebuild(database)
        return popularity

    async def rebuild(self, database: Database) -> None:
        """Forget the counts and count what is stored."""
        arrays = await database.reading(self._read)
        newest = float(arrays[2].max(initial=0.0))
        for column in (*self._decayed, self._counts):
            column.array[:] = 0.0
        self._newest = self._zero = newest
        self._count(*arrays)

    def grow(self, rows: int) -> None:
        """Have at least so many rows, as the catalogue has."""
        for column in (*self._decayed, self._counts):
            column.grow(rows)

    def record(self, stored: Stored) -> None:
        """Count new events: the log's listener."""
        choices = (
            (each.event_type, row, each.value, each.timestamp)
            for each, row in zip(stored.events, stored.rows, strict=True)
        )
        self._count(*self._weighed(choices))
        if stored.replaced:
            self._discount(stored.replaced)

    def removed(self, removed: Removed) -> None:
        """Count removed events no more: the log's listener."""
        self._discount(removed.choices)

    def scores(self, half_life: float, now: float) -> Floats:
        """Return (rows,) float32 by the nearest half-life; 0: the longest.

        About the choices of 1.44 half-lives before `now`, or before the newest choice if that is earlier.
        """
        lives = np.array(self.half_lives)
        nearest = int(np.abs(np.log(lives / half_life)).argmin()) if half_life > 0 else len(lives) - 1
        return self._scores(nearest, now).astype(np.float32)

    def trending(self, now: float) -> Floats:
        """Return (rows,) float32: the rate of choices now over the usual one; 1: as usual. Few are damped.

        What is now is the shortest half-life, what is usual the longest.
        """
        short, long = self.half_lives[0], self.half_lives[-1]
        credit = _DAMPING / long
        ratio = (self._scores(0, now) / short + credit) / (self._scores(-1, now) / long + credit)
        return ratio.astype(np.float32)

    def counts(self) -> Floats:
        """Return (rows,) float32: all choices ever, undecayed."""
        return np.maximum(self._counts.array, 0.0).astype(np.float32)

    def _scores(self, index: int, now: float) -> _Numbers:
        fade = 2.0 ** (-(min(now, self._newest) - self._zero) / self.half_lives[index])
        # Below 0 only by the rounding of what was counted and taken back.
        scores: _Numbers = np.maximum(self._decayed[index].array, 0.0) * fade
        return scores

    def _discount(self, choices: Sequence[Choice]) -> None:
        rows, weights, times, counts = self._weighed(choices)
        self._count(rows, -weights, times, -counts)

    def _weighed(self, choices: Iterable[tuple[str, int, float, float]]) -> _Arrays:
        """Return rows, weights and times of the choices that count."""
        rows, weights, times = [], [], []
        for event_type, row, value, timestamp in choices:
            preference = self._preferences.get(event_type)
            if preference is None or value < preference.threshold:
                continue
            rows.append(row)
            weights.append(preference.weight * value if preference.by_value else preference.weight)
            times.append(timestamp)
        ones = np.ones(len(rows))
        return np.array(rows, np.int64), np.array(weights, np.float64), np.array(times, np.float64), ones

    def _count(self, rows: NDArray[np.int64], weights: _Numbers, times: _Numbers, counts: _Numbers) -> None:
        if not len(rows):
            return
        self.grow(int(rows.max()) + 1)
        self._advance(float(times.max()))
        for column, half_life in zip(self._decayed, self.half_lives, strict=True):
            np.add.at(column.array, rows, weights * np.exp2((times - self._zero) / half_life))
        np.add.at(self._counts.array, rows, counts)

    def _advance(self, newest: float) -> None:
        """Reckon as of the newest choice; move t₀ along before numbers get too large."""
        self._newest = max(self._newest, newest)
        ahead = self._newest - self._zero
        if ahead <= _REBASE * self.half_lives[0]:
            return
        for column, half_life in zip(self._decayed, self.half_lives, strict=True):
            column.array[:] *= 2.0 ** (-ahead / half_life)
        self._zero = self._newest

    def _read(self, connection: Connection) -> _Arrays:
        columns, width = events.c, self.half_lives[0] / _BUCKETS
        bucket = cast(columns.timestamp / width, BigInteger)
        counted = [
            (columns.event_type == name) & (columns.value >= each.threshold)
            for name, each in self._preferences.items()
        ]
        query = (
            select(columns.event_type, columns.item_row, func.sum(columns.value), func.count(), bucket)
            .where(~columns.superseded, or_(false(), *counted))
            .group_by(columns.event_type, columns.item_row, bucket)
        )
        found = connection.execute(query).all()
        by = [self._preferences[name] for name, *_ in found]
        return (
            np.array([each[1] for each in found], np.int64),
            np.array(
                [p.weight * (each[2] if p.by_value else each[3]) for p, each in zip(by, found, strict=True)]
            ),
            np.array([each[4] * width for each in found], np.float64),
            np.array([each[3] for each in found], np.float64),
        )
