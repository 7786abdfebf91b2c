"""Holds what was observed until the schedule takes it: learning then sees the same counts however it came."""

from __future__ import annotations

from collections import deque

from services.rl_policy.algorithms.algorithm import Transitions


class Inbox:
    """A queue of transitions, taken in pieces."""

    def __init__(self) -> None:
        self._batches: deque[Transitions] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._batches))

    def put(self, batch: Transitions) -> None:
        """Append what comes next in the log."""
        if len(batch):
            self._batches.append(batch)

    def take(self, most: int) -> Transitions | None:
        """Return the next transitions, at least one and at most `most`; None where there are none."""
        if not self._batches:
            return None
        batch = self._batches.popleft()
        if len(batch) > most:
            self._batches.appendleft(batch[most:])
        return batch[:most]
