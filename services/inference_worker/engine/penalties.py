"""Penalties on tokens that were there before: what has been seen, kept as it grows, and the shaping."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from services.inference_worker.engine.batch import Doubles, Floats
from services.inference_worker.wire import Sampling


class Tally:
    """How often each token has come. Adding one takes the same time however many there are."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._tokens = np.zeros(64, np.int64)
        self._times = np.zeros(64)

    def add(self, token: int) -> None:
        """Count a token."""
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros_like(self._tokens)])
            self._times = np.concatenate([self._times, np.zeros_like(self._times)])
        self._tokens[place] = token
        self._times[place] += 1

    @property
    def tokens(self) -> NDArray[np.int64]:
        """The tokens that have come, each once."""
        return self._tokens[: len(self._places)]

    @property
    def times(self) -> Doubles:
        """How often each of `tokens` has come."""
        return self._times[: len(self._places)]


class Penalties:
    """The three penalties of one sequence: repetition looks at all its tokens, the others at its answer."""

    def __init__(self, sampling: Sampling, prompt: Iterable[int]) -> None:
        self._sampling = sampling
        self._seen = Tally()
        self._answer = Tally()
        for token in prompt:
            self._seen.add(token)

    @staticmethod
    def asked(sampling: Sampling) -> bool:
        """Return whether the parameters ask for any."""
        changes = (sampling.repetition_penalty - 1, sampling.presence_penalty, sampling.frequency_penalty)
        return any(change != 0 for change in changes)

    def take(self, token: int) -> None:
        """Count a token of the answer."""
        self._seen.add(token)
        self._answer.add(token)

    def shape(self, logits: Floats) -> Doubles:
        """Return the logits, in double, with the penalties taken (repetition: Keskar et al., 2019)."""
        sampling, shaped = self._sampling, logits.astype(np.float64)
        if sampling.repetition_penalty != 1:
            values, penalty = shaped[self._seen.tokens], sampling.repetition_penalty
            shaped[self._seen.tokens] = np.where(values > 0, values / penalty, values * penalty)
        shaped[self._answer.tokens] -= (
            sampling.presence_penalty + sampling.frequency_penalty * self._answer.times
        )
        return shaped
