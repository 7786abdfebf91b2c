"""The life of a request in the worker: checked, given to the engine, read, or forgotten if left."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from services.inference_worker.engines import Engines
from services.inference_worker.mailbox import Mailbox
from services.inference_worker.model import Model
from services.inference_worker.models import Models
from services.inference_worker.observation import Observation, Waiting
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.session import Session
from services.inference_worker.wire import (
    Embed,
    FinishReason,
    Generate,
    Loaded,
    Timings,
    TokenLogprob,
    Vectors,
)
from services.kit.errors import Reason, ResourceExhausted, Unavailable
from services.store.spec import Task


@dataclass(frozen=True)
class Ending:
    """The end of an answer: why, what it used, and how long each stage took in seconds."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float


@dataclass(frozen=True)
class Progress:
    """What was made since the last one; the last has the ending."""

    tokens: list[int]
    logprobs: list[TokenLogprob]
    ending: Ending | None


@dataclass(frozen=True)
class Embeddings:
    """Vectors one after the other, as little-endian 32-bit floats, `dimensions` of them each."""

    values: bytes
    dimensions: int
    prompt_tokens: int


@dataclass(frozen=True)
class _Call:
    """A request under way: with which engine, where its answer arrives, and what telemetry knows of it."""

    session: Session
    mailbox: Mailbox
    waiting: Waiting


class Inference:
    """Answers by the models that are READY. At most `limit` requests of one model are under way at once."""

    def __init__(self, models: Models, engines: Engines, observation: Observation, limit: int) -> None:
        self._models = models
        self._engines = engines
        self._observation = observation
        self._limit = limit
        self._ids = itertools.count(1)

    async def generate(self, asked: GenerationRequest) -> AsyncGenerator[Progress, None]:
        """Yield the answer as it is made; closing the generator frees its place before the next step.

        Raises what `Models.ready` and `GenerationRequest.check` raise, ResourceExhausted (QUEUE_FULL),
        Unavailable (ENGINE_LOST) and DeadlineExceeded.
        """
        model = self._models.ready(asked.model, asked.version, Task.GENERATE)
        sampling = asked.check(_loaded(model))
        with self._under_way(model) as call:
            accepted, key = call.waiting.accepted, model.key
            call.session.submit(
                Generate(call.mailbox.id, key, asked.token_ids, sampling, accepted, asked.deadline)
            )
            made = 0
            while True:
                output = await call.mailbox.take()
                if output.tokens and not made:
                    self._observation.first_token(call.waiting)
                made += len(output.tokens)
                if output.finish is None:
                    yield Progress(output.tokens, output.logprobs, None)
                    continue
                timings = output.finish.timings
                self._observation.generated(model, call.waiting, len(asked.token_ids), made, timings)
                ending = _ending(output.finish.reason, len(asked.token_ids), made, accepted, timings)
                yield Progress(output.tokens, output.logprobs, ending)
                return

    async def embed(self, asked: EmbeddingRequest) -> Embeddings:
        """Return a vector an input. Raises as `generate`."""
        model = self._models.ready(asked.model, asked.version, Task.EMBED)
        loaded = _loaded(model)
        asked.check(loaded)
        dimensions = asked.dimensions or loaded.dimensions
        with self._under_way(model) as call:
            request = Embed(
                id=call.mailbox.id,
                model=model.key,
                inputs=asked.inputs,
                pooling=asked.pooling or model.spec.pooling.value,
                normalize=model.spec.normalize if asked.normalize is None else asked.normalize,
                dimensions=dimensions,
                accepted=call.waiting.accepted,
                deadline=asked.deadline,
            )
            call.session.submit(request)
            vectors = (await call.mailbox.take()).vectors or _none()
            self._observation.embedded(model, call.waiting, asked.tokens, vectors.timings)
            return Embeddings(vectors.values, dimensions, asked.tokens)

    @contextmanager
    def _under_way(self, model: Model) -> Iterator[_Call]:
        """Hold a place among the model's requests; leaving early makes the engine forget this one."""
        engine = self._engines.process(model.device)
        session = engine.session if engine is not None else None
        if session is None:
            message, metadata = f"The engine of {model.device} has ended.", {"device": model.device}
            raise Unavailable(Reason.ENGINE_LOST, message, metadata=metadata)
        if session.mailboxes.count(model.key) >= self._limit:
            message = (
                f"{self._limit} requests for {model.spec.name!r} are under way or wait; nothing was begun."
            )
            metadata = {"model": model.spec.name, "limit": str(self._limit)}
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=metadata, retry_after=1.0)
        mailbox = session.mailboxes.open(next(self._ids), model.key)
        waiting = self._observation.open(mailbox.id, monotonic())
        try:
            yield _Call(session, mailbox, waiting)
        finally:
            self._observation.close(mailbox.id)
            session.cancel(mailbox.id)


def _loaded(model: Model) -> Loaded:
    if model.loaded is None:
        raise ValueError(f"{model.key} is READY and was never loaded")
    return model.loaded


def _none() -> Vectors:
    raise ValueError("an engine has answered an Embed with tokens")


def _ending(reason: FinishReason, prompt: int, made: int, accepted: float, timings: Timings) -> Ending:
    return Ending(
        reason=reason,
        prompt_tokens=prompt,
        completion_tokens=made,
        queue_s=max(0.0, timings.started - accepted),
        prefill_s=timings.first_token - timings.started,
        decode_s=timings.ended - timings.first_token,
    )
