"""A request that an engine has, from its acceptance to its last word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.inference_worker.model import Model
from services.inference_worker.observation import Observation, Waiting
from services.inference_worker.session import Session
from services.inference_worker.wire import (
    Embed,
    Finish,
    FinishReason,
    Generate,
    Output,
    TokenLogprob,
    Vectors,
)
from services.kit.errors import TrunklineError


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an answer: why, what it used, and how long each stage took in seconds."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float
    cached_tokens: int = 0
    """Of the prompt's tokens, those that came from the prefix cache."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors one after the other, as little-endian 32-bit floats, `dimensions` of them each."""

    values: bytes
    dimensions: int
    prompt_tokens: int


Outcome = Ending | Embeddings | TrunklineError


class Reader(Protocol):
    """Who asked. Called in the event loop at every step: is quick, never raises."""

    def made(self, tokens: list[int], logprobs: list[TokenLogprob]) -> None:
        """Hear of new tokens; `logprobs` is as long, or empty where none were asked for."""

    def ended(self, outcome: Outcome) -> None:
        """Hear the last word. It comes once, unless the request is closed first."""


class UnderWay:
    """A mailbox that tells a reader, and telemetry. Closing it makes the engine forget the request."""

    __slots__ = (
        "_dimensions",
        "_made",
        "_model",
        "_observation",
        "_prompt_tokens",
        "_reader",
        "_session",
        "_waiting",
        "id",
    )

    def __init__(
        self,
        request: Generate | Embed,
        model: Model,
        session: Session,
        *,
        observation: Observation,
        waiting: Waiting,
        reader: Reader,
        prompt_tokens: int,
    ) -> None:
        self.id = request.id
        self._dimensions = request.dimensions if isinstance(request, Embed) else 0
        self._model = model
        self._session = session
        self._observation = observation
        self._waiting = waiting
        self._reader = reader
        self._prompt_tokens = prompt_tokens
        self._made = 0

    def deliver(self, output: Output) -> None:
        """Take what a step made."""
        if output.tokens:
            if not self._made:
                self._observation.first_token(self._waiting)
            self._made += len(output.tokens)
            self._reader.made(output.tokens, output.logprobs)
        if output.finish is not None:
            self._end(self._ending(output.finish))
        elif output.vectors is not None:
            self._end(self._embeddings(output.vectors))

    def fail(self, error: TrunklineError) -> None:
        """Take the news that there will be no more."""
        self._end(error)

    def close(self) -> None:
        """Leave it: the engine's place is free before the next step. Does nothing after the end."""
        self._observation.close(self.id)
        self._session.cancel(self.id)

    def _end(self, outcome: Outcome) -> None:
        self._observation.close(self.id)
        self._reader.ended(outcome)

    def _embeddings(self, vectors: Vectors) -> Embeddings:
        self._observation.embedded(self._model, self._waiting, self._prompt_tokens, vectors.timings)
        return Embeddings(vectors.values, self._dimensions, self._prompt_tokens)

    def _ending(self, finish: Finish) -> Ending:
        timings, accepted = finish.timings, self._waiting.accepted
        self._observation.generated(self._model, self._waiting, self._prompt_tokens, self._made, timings)
        return Ending(
            reason=finish.reason,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._made,
            queue_s=max(0.0, timings.started - accepted),
            prefill_s=timings.first_token - timings.started,
            decode_s=timings.ended - timings.first_token,
            cached_tokens=finish.cached_tokens,
        )
