"""Embed: texts or token ids in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.front.attempts import Attempts
from gateway.front.calls import EmbedCall, Ids, Task, VectorCall, Vectors
from gateway.front.encoding import Encoder, Input, Tokenizer
from gateway.front.limits import check_dimensions, check_embed, check_ids
from gateway.front.routes import Routes, Target
from gateway.front.sampling import context_exceeded
from gateway.front.workers import Workers
from services.kit.errors import invalid


class Embedding:
    """Composes tokenizer and workers into vectors."""

    def __init__(self, routes: Routes, workers: Workers, encoder: Encoder, attempts: Attempts) -> None:
        self._routes = routes
        self._workers = workers
        self._encoder = encoder
        self._attempts = attempts

    async def embed(self, call: EmbedCall) -> Vectors:
        """Return one vector an input, in order."""
        check_embed(call)
        target = self._routes.resolve(call.model, call.version, Task.EMBED)
        model = await self._workers.model(target)
        check_dimensions(call.dimensions, target.version.dimensions)
        if call.texts:
            inputs = await self._encoded(call, target)
        else:
            inputs = _given(call, target, model.vocabulary_size)
        vectors = VectorCall(
            call.model, target.version.name, inputs, call.pooling, call.normalize, call.dimensions
        )
        return await self._attempts.embed(target, vectors)

    async def _encoded(self, call: EmbedCall, target: Target) -> Sequence[Ids]:
        context = target.version.context_length
        limit = context if call.truncate else None
        tokenizer = Tokenizer(call.model, target.version.tokenizer_digest, limit)
        wanted = [Input(text, f"texts[{index}]") for index, text in enumerate(call.texts)]
        encoded = await self._encoder.encode(tokenizer, wanted)
        for ids, each in zip(encoded, wanted, strict=True):
            if not ids:
                raise invalid(each.field, "must hold at least one token")
            if len(ids) > context:
                raise context_exceeded(each.field, len(ids), context)
        return encoded


def _given(call: EmbedCall, target: Target, vocabulary_size: int) -> Sequence[Ids]:
    context = target.version.context_length
    for index, ids in enumerate(call.token_ids):
        check_ids(f"token_ids[{index}].ids", ids, vocabulary_size)
        if len(ids) > context and not call.truncate:
            raise context_exceeded(f"token_ids[{index}]", len(ids), context)
    return [ids[:context] for ids in call.token_ids]
