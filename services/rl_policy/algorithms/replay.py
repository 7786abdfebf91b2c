"""The last transitions, from which batches are drawn; targets of several steps are put together when drawn.

Each row knows which row follows it in its episode. So a target of n steps (Sutton, 1988) needs no window that
would have to be saved: it walks on from its row, at most n steps, to the end of what is known of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.rl_policy.algorithms.algorithm import Bools, Doubles, Floats, Ints, Transitions

NONE = -1


@dataclass(frozen=True)
class Batch:
    """B rows to learn from: reward + discount * value of next_observation is the target."""

    rows: Ints
    """(B,): where they stand in the memory."""
    observation: Floats
    action: Floats
    mask: Bools
    reward: Doubles
    """(B,): the discounted sum over the steps that were walked."""
    discount: Doubles
    """(B,): gamma to the power of these steps; 0 where the episode terminated."""
    next_observation: Floats
    next_mask: Bools


class Replay:
    """A ring of the last `capacity` transitions; a row is a place in the log modulo capacity."""

    def __init__(self, capacity: int, discount: float, steps: int = 1) -> None:
        self._capacity = capacity
        self._discount = discount
        self._steps = steps
        self._columns: Transitions | None = None
        self._after = np.full(capacity, NONE, np.int64)
        self._open: dict[int, int] = {}
        self.seen = 0
        """How many transitions were ever added: where the next one goes."""

    def __len__(self) -> int:
        return min(self.seen, self._capacity)

    def add(self, batch: Transitions) -> Ints:
        """Append what comes next in the log; return the rows that were written."""
        if len(batch) > self._capacity:
            self.add(batch[: -self._capacity])
            batch = batch[-self._capacity :]
        columns = self._room(batch)
        rows = (self.seen + np.arange(len(batch))) % self._capacity
        for name, column in columns.columns():
            column[rows] = getattr(batch, name)
        self._after[rows] = NONE
        self.seen += len(batch)
        self._link(rows, batch)
        return rows

    def latest(self, count: int) -> Floats:
        """Return the last `count` observations, or as many as there are, in the order of the log."""
        assert self._columns is not None  # noqa: S101 - a row was added before
        rows: Floats = self._columns.observation[
            np.arange(self.seen - min(count, len(self)), self.seen) % self._capacity
        ]
        return rows

    def batch(self, rows: Ints) -> Batch:
        """Return these rows with their targets."""
        columns = self._columns
        assert columns is not None  # noqa: S101 - a row was added before it was drawn
        last, reward, factor = rows.copy(), columns.reward[rows].copy(), np.full(len(rows), self._discount)
        for _ in range(self._steps - 1):
            following = self._after[last]
            goes_on = following != NONE
            last = np.where(goes_on, following, last)
            reward += np.where(goes_on, factor * columns.reward[last], 0.0)
            factor = np.where(goes_on, factor * self._discount, factor)
        return Batch(
            rows=rows,
            observation=columns.observation[rows],
            action=columns.action[rows],
            mask=columns.mask[rows],
            reward=reward,
            discount=np.where(columns.terminated[last], 0.0, factor),
            next_observation=columns.next_observation[last],
            next_mask=columns.next_mask[last],
        )

    def _room(self, batch: Transitions) -> Transitions:
        """Return the ring's columns; they are made when the first transition says how wide they are."""
        if self._columns is None:
            empty = {
                name: np.zeros((self._capacity, *column.shape[1:]), column.dtype)
                for name, column in batch.columns()
            }
            self._columns = Transitions(**empty)
        return self._columns

    def _link(self, rows: Ints, batch: Transitions) -> None:
        columns = self._columns
        assert columns is not None  # noqa: S101 - see `add`
        ends = (batch.terminated | batch.truncated).tolist()
        places = zip(rows.tolist(), batch.episode.tolist(), batch.step.tolist(), ends, strict=True)
        for row, episode, step, end in places:
            before = self._open.pop(episode, NONE)
            if before != NONE and columns.episode[before] == episode and columns.step[before] == step - 1:
                self._after[before] = row
            if not end:
                self._open[episode] = row
        if len(self._open) > 2 * self._capacity:  # episodes that nobody went on with
            self._open = {each: row for each, row in self._open.items() if columns.episode[row] == each}
