"""The inputs that wait for an encoder, ordered by length, and how batches are cut from them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Input:
    """One input of a request: `length` tokens, the `number`th to arrive."""

    length: int
    number: int
    request: int
    index: int


class InputQueue:
    """Waiting inputs.

    A batch is the oldest input and its neighbours in length: little padding, and nobody starves.
    """

    def __init__(self) -> None:
        self._ordered: list[Input] = []
        self._arrivals: deque[Input] = deque()  # with inputs that have left; `take` passes over them
        self._next = 0
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._ordered)

    def add(self, request: int, lengths: Iterable[int]) -> None:
        """Queue a request's inputs, of these lengths in tokens."""
        for index, length in enumerate(lengths):
            new = Input(length, self._next, request, index)
            self._next += 1
            self.tokens += length
            self._arrivals.append(new)
            insort(self._ordered, new)

    def remove(self, requests: set[int]) -> None:
        """Forget all inputs of these requests."""
        self._ordered = [each for each in self._ordered if each.request not in requests]
        self.tokens = sum(each.length for each in self._ordered)

    def take(self, budget: int) -> list[Input]:
        """Return and forget the next batch: at most `budget` tokens with padding, but at least one input.

        The queue must not be empty.
        """
        start = self._oldest()
        end, length = start + 1, self._ordered[start].length
        while grown := self._grown(start, end, length, budget):
            start, end = grown
        batch = self._ordered[start:end]
        del self._ordered[start:end]
        self.tokens -= sum(each.length for each in batch)
        return batch

    def _grown(self, start: int, end: int, length: int, budget: int) -> tuple[int, int] | None:
        """Return start and end with the neighbour whose length is nearest to `length`; None if none fits."""
        fitting = [
            (abs(self._ordered[place].length - length), first, last)
            for place, first, last in ((end, start, end + 1), (start - 1, start - 1, end))
            if 0 <= place < len(self._ordered) and (last - first) * self._ordered[last - 1].length <= budget
        ]
        return min(fitting)[1:] if fitting else None

    def _oldest(self) -> int:
        """Return the place of the oldest input in the order of lengths."""
        while True:
            oldest = self._arrivals[0]
            place = bisect_left(self._ordered, oldest)
            if place < len(self._ordered) and self._ordered[place] == oldest:
                return place
            self._arrivals.popleft()
