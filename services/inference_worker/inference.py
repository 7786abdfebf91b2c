"""The life of a request in the worker: checked, given to the engine, read, or forgotten if left."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from time import monotonic

from opentelemetry.trace import Span

from services.inference_worker.engines import Engines
from services.inference_worker.inbox import Inbox, Progress
from services.inference_worker.model import Model
from services.inference_worker.models import Models
from services.inference_worker.observation import Observation
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.session import Session
from services.inference_worker.under_way import Embeddings, Reader, UnderWay
from services.inference_worker.wire import Embed, Generate, Loaded
from services.kit.errors import Reason, ResourceExhausted, Unavailable
from services.store.spec import Task


class Inference:
    """Answers by the models that are READY. At most `limit` requests of one model are under way at once."""

    def __init__(self, models: Models, engines: Engines, observation: Observation, limit: int) -> None:
        self._models = models
        self._engines = engines
        self._observation = observation
        self._limit = limit
        self._ids = itertools.count(1)

    def begin(
        self, asked: GenerationRequest | EmbeddingRequest, reader: Reader, span: Span | None = None
    ) -> UnderWay:
        """Give a request to its engine. `span` is the call's; without one it is the call being handled.

        Raises what `Models.ready` and the request's `check` raise, ResourceExhausted (QUEUE_FULL) and
        Unavailable (ENGINE_LOST). What fails later, the reader hears.
        """
        if isinstance(asked, GenerationRequest):
            return self._begin_generate(asked, reader, span)
        return self._begin_embed(asked, reader, span)

    async def generate(self, asked: GenerationRequest) -> AsyncGenerator[Progress, None]:
        """Yield the answer as it is made; closing the generator frees its place before the next step.

        Raises what `begin` raises, Unavailable (ENGINE_LOST) and DeadlineExceeded.
        """
        inbox = Inbox()
        call = self.begin(asked, inbox)
        try:
            while True:
                progress = await inbox.take()
                yield progress
                if progress.ending is not None:
                    return
        finally:
            call.close()

    async def embed(self, asked: EmbeddingRequest) -> Embeddings:
        """Return a vector an input. Raises as `generate`."""
        inbox = Inbox()
        call = self.begin(asked, inbox)
        try:
            return await inbox.vectors()
        finally:
            call.close()

    def _begin_generate(self, asked: GenerationRequest, reader: Reader, span: Span | None) -> UnderWay:
        model = self._models.ready(asked.model, asked.version, Task.GENERATE)
        request = Generate(
            id=next(self._ids),
            model=model.key,
            token_ids=asked.token_ids,
            sampling=asked.check(_loaded(model)),
            accepted=monotonic(),
            deadline=asked.deadline,
            tenant=asked.tenant,
            priority=asked.priority,
        )
        return self._submit(model, request, len(asked.token_ids), reader, span)

    def _begin_embed(self, asked: EmbeddingRequest, reader: Reader, span: Span | None) -> UnderWay:
        model = self._models.ready(asked.model, asked.version, Task.EMBED)
        loaded = _loaded(model)
        asked.check(loaded)
        request = Embed(
            id=next(self._ids),
            model=model.key,
            inputs=asked.inputs,
            pooling=asked.pooling or model.spec.pooling.value,
            normalize=model.spec.normalize if asked.normalize is None else asked.normalize,
            dimensions=asked.dimensions or loaded.dimensions,
            accepted=monotonic(),
            deadline=asked.deadline,
        )
        return self._submit(model, request, asked.tokens, reader, span)

    def _submit(
        self, model: Model, request: Generate | Embed, tokens: int, reader: Reader, span: Span | None
    ) -> UnderWay:
        session = self._session(model)
        session.submit(request)
        waiting = self._observation.open(request.id, request.accepted, span)
        call = UnderWay(
            request,
            model,
            session,
            observation=self._observation,
            waiting=waiting,
            reader=reader,
            prompt_tokens=tokens,
        )
        session.mailboxes.open(request.id, model.key, call)
        return call

    def _session(self, model: Model) -> Session:
        """Return the session of a model's engine; raises Unavailable, ResourceExhausted."""
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
        return session


def _loaded(model: Model) -> Loaded:
    if model.loaded is None:
        raise ValueError(f"{model.key} is READY and was never loaded")
    return model.loaded
