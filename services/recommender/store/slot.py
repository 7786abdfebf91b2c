"""One history in memory: arrays, and the events that came since they were made."""

from __future__ import annotations

import asyncio
from sys import intern
from typing import NamedTuple

import numpy as np

from services.recommender.entities import Event, History
from services.recommender.store.stored import WriteMode

EMPTY = History(np.empty(0, np.int32), (), np.empty(0, np.float32), np.empty(0, np.float64))
SLOT_BYTES = 400
"""A slot, its key's place in the table, and a history's objects."""
EVENT_BYTES = 24
NEW_BYTES = 160
"""An event that is not yet in the arrays."""
_MANY = 64
"""So many new ones are put into the arrays although nobody asks."""


class _New(NamedTuple):
    sequence: int
    row: int
    event_type: str
    value: float
    timestamp: float
    mode: WriteMode


class Loaded(NamedTuple):
    """A history as the database has it, and the number of its newest event."""

    history: History
    newest: int


class Slot:
    """The history of one user or session; `loading` is None once it was read."""

    __slots__ = ("_history", "_limit", "_new", "_newest", "bytes", "loading")

    def __init__(self, key_length: int, loading: asyncio.Future[None]) -> None:
        self.loading: asyncio.Future[None] | None = loading
        self.bytes = SLOT_BYTES + key_length
        self._history = EMPTY
        self._new: list[_New] = []
        self._newest = 0
        self._limit = 0

    @property
    def events(self) -> int:
        """How many events it has, about."""
        return len(self._history) + len(self._new)

    def add(self, sequence: int, row: int, event: Event, mode: WriteMode) -> int:
        """Take in a new event; return by how many bytes the slot grew."""
        before = self.bytes
        self._new.append(_New(sequence, row, intern(event.event_type), event.value, event.timestamp, mode))
        self.bytes += NEW_BYTES
        if len(self._new) >= _MANY and self.loading is None and self._limit:
            self.history(self._limit)
        return self.bytes - before

    def load(self, loaded: Loaded | None) -> None:
        """Take in what was read; events that came meanwhile and are in it count once."""
        if loaded is not None:
            self._history, self._newest = loaded
            self.bytes += EVENT_BYTES * len(self._history)
        waiting, self.loading = self.loading, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell those who wait that it could not be read."""
        waiting, self.loading = self.loading, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # Retrieved, even where nobody waits any more.

    def history(self, limit: int) -> History:
        """Return the latest `limit` events, oldest first."""
        self._limit = limit
        if self._new:
            new = [each for each in self._new if each.sequence > self._newest]
            self.bytes -= NEW_BYTES * len(self._new) + EVENT_BYTES * len(self._history)
            self._new = []
            if new:
                self._newest = max(each.sequence for each in new)
                self._history = _joined(self._history, new, limit)
            self.bytes += EVENT_BYTES * len(self._history)
        return self._history


def _joined(history: History, new: list[_New], limit: int) -> History:
    """Return the history with new events, by time; events of one time in the order of the log."""
    if any(each.mode is WriteMode.OVERWRITE for each in new):
        history, new = _overwritten(history, new)
    rows = np.concatenate([history.rows, np.array([each.row for each in new], np.int32)])
    types = history.types + tuple(each.event_type for each in new)
    values = np.concatenate([history.values, np.array([each.value for each in new], np.float32)])
    times = np.concatenate([history.times, np.array([each.timestamp for each in new], np.float64)])
    if len(times) > 1 and np.any(times[1:] < times[:-1]):
        order = np.argsort(times, kind="stable")
        rows, values, times = rows[order], values[order], times[order]
        types = tuple(types[index] for index in order)
    return History(rows[-limit:].copy(), types[-limit:], values[-limit:].copy(), times[-limit:].copy())


def _overwritten(history: History, new: list[_New]) -> tuple[History, list[_New]]:
    """Return both without what a later event took the place of."""
    replaced: dict[tuple[int, str], int] = {
        (each.row, each.event_type): each.sequence for each in new if each.mode is WriteMode.OVERWRITE
    }
    kept = [each for each in new if each.sequence >= replaced.get((each.row, each.event_type), 0)]
    pairs = zip(history.rows.tolist(), history.types, strict=True)
    stays = np.array([pair not in replaced for pair in pairs], bool)
    types = tuple(each for each, there in zip(history.types, stays, strict=True) if there)
    return History(history.rows[stays], types, history.values[stays], history.times[stays]), kept
