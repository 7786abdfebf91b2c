"""The inputs that wait for an encoder, and how batches are cut from them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np

from services.inference_worker.engine.batch import Ints


class Inputs:
    """The inputs of one request, packed one after the other from the shortest to the longest.

    Inputs of like length then share batches. `order` says which each was; the first `taken` have left.
    """

    __slots__ = ("ends", "lengths", "order", "request", "taken", "tokens")

    def __init__(self, request: int, inputs: Rows[Rows[int]]) -> None:
        lengths = list(map(len, inputs))
        self.order = sorted(range(len(lengths)), key=lengths.__getitem__)
        ascending = [lengths[index] for index in self.order]
        self.lengths = np.array(ascending, np.int32)
        self.ends = list(accumulate(ascending, initial=0))
        packed = chain.from_iterable(inputs[index] for index in self.order)
        self.tokens: Ints = np.fromiter(packed, np.int32, self.ends[-1])
        self.request = request
        self.taken = 0

    @property
    def left(self) -> int:
        """Tokens that have not been taken."""
        return self.ends[-1] - self.ends[self.taken]


@dataclass(slots=True)
class Span:
    """The inputs `first` to `last`, that one not among them, of a request."""

    inputs: Inputs
    first: int
    last: int

    def grow(self, budget: int, least: int = 0) -> int:
        """Take the next inputs for as long as they fit, but at least so many; return their tokens."""
        ends, before = self.inputs.ends, self.last
        fitting = bisect_right(ends, ends[before] + budget, before) - 1
        self.last = max(fitting, before + least)
        return ends[self.last] - ends[before]

    @property
    def tokens(self) -> Ints:
        """The tokens, one input after the other."""
        return self.inputs.tokens[self.inputs.ends[self.first] : self.inputs.ends[self.last]]

    @property
    def lengths(self) -> Ints:
        """How long each input is."""
        return self.inputs.lengths[self.first : self.last]

    @property
    def order(self) -> list[int]:
        """Which of the request's inputs each is."""
        return self.inputs.order[self.first : self.last]


class InputQueue:
    """Waiting inputs, oldest request first.

    The oldest request is in every batch: nobody starves. All have the same share of what is left, and what
    some do not need is the older ones': a request of thousands does not hold up one of a sentence.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Inputs] = {}
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, inputs: Inputs) -> None:
        """Queue a request's inputs."""
        self._waiting[inputs.request] = inputs
        self.tokens += inputs.left

    def remove(self, request: int) -> None:
        """Forget what is left of a request's inputs, if anything is."""
        if inputs := self._waiting.pop(request, None):
            self.tokens -= inputs.left

    def take(self, budget: int) -> list[Span]:
        """Return and forget the next batch: at most `budget` tokens, but at least one input.

        The queue must not be empty. A request has one span of the batch.
        """
        spans = [Span(each, each.taken, each.taken) for each in self._waiting.values()]
        left = budget
        for place, span in enumerate(spans):
            left -= span.grow(max(left, 0) // (len(spans) - place), least=0 if place else 1)
        for span in spans:
            left -= span.grow(max(left, 0))
        taken = [span for span in spans if span.last > span.first]
        for span in taken:
            self._leave(span)
        return taken

    def _leave(self, span: Span) -> None:
        inputs = span.inputs
        self.tokens -= inputs.ends[span.last] - inputs.ends[span.first]
        inputs.taken = span.last
        if span.last == len(inputs.order):
            del self._waiting[inputs.request]
