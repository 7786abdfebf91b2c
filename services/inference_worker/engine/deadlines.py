"""Deadlines of many requests: those that have passed are found without a look at the others."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush

_SLACK = 1_024


class Deadlines:
    """The deadlines of the requests in `live`; entries of those who left it go in time."""

    def __init__(self, live: Collection[int]) -> None:
        self._live = live
        self._heap: list[tuple[float, int]] = []

    def add(self, request_id: int, deadline: float) -> None:
        """Remember a request's deadline."""
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in self._live]
            heapify(self._heap)
        heappush(self._heap, (deadline, request_id))

    def passed(self, now: float) -> list[int]:
        """Return and forget the live requests whose deadline has passed, the earliest first."""
        late = []
        while self._heap and self._heap[0][0] <= now:
            _, request_id = heappop(self._heap)
            if request_id in self._live:
                late.append(request_id)
        return late
