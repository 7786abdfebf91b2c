"""Generate: text, a conversation or token ids in, text out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.front.answer import Answer
from gateway.front.artifacts import Artifacts
from gateway.front.attempts import Attempts
from gateway.front.calls import (
    Conversation,
    GenerateCall,
    Ids,
    Task,
    TextDelta,
    TextFinish,
    TokenCall,
    TokenFinish,
)
from gateway.front.choosing import Choosing
from gateway.front.detokenizer import Detokenizer
from gateway.front.encoding import Encoder, Input, Tokenizer
from gateway.front.limits import check_generate, check_ids
from gateway.front.routes import Target
from gateway.front.sampling import max_tokens, sampling
from gateway.front.vocabulary import Vocabulary
from gateway.front.workers import Workers
from services.kit.errors import Unavailable, invalid


class Generation:
    """Composes tokenizer and workers into answers."""

    def __init__(
        self,
        choosing: Choosing,
        workers: Workers,
        encoder: Encoder,
        artifacts: Artifacts,
        attempts: Attempts,
    ) -> None:
        self._choosing = choosing
        self._workers = workers
        self._encoder = encoder
        self._artifacts = artifacts
        self._attempts = attempts

    async def generate(self, call: GenerateCall) -> AsyncGenerator[TextDelta | TextFinish, None]:
        """Yield deltas, then exactly one finish. Closing the generator cancels the worker's call."""
        check_generate(call)
        target, choice = await self._choosing.choose(call.model, call.version, Task.GENERATE)
        with self._choosing.rewarded(call.model, choice) as answered:
            async with aclosing(self._generated(call, target)) as events:
                async for event in events:
                    answered.whole = isinstance(event, TextFinish)
                    yield event

    async def _generated(
        self, call: GenerateCall, target: Target
    ) -> AsyncGenerator[TextDelta | TextFinish, None]:
        model = await self._workers.model(target)
        ids = await self._prompt(call, target, model.vocabulary_size)
        limit = max_tokens(call, len(ids), target.version.context_length)
        how = sampling(call, model.defaults, limit)
        tokens = TokenCall(call.model, target.version.name, ids, how, call.tenant, call.priority)
        answer = await self._answer(call, target, ids)
        async with aclosing(self._attempts.generate(target, tokens)) as events:
            async for event in events:
                if isinstance(event, TokenFinish):
                    if rest := answer.rest():
                        yield TextDelta(rest)
                    yield answer.finish(event)
                    return
                yield answer.read(event)
                if answer.stopped:
                    break
        yield answer.cut()

    async def _prompt(self, call: GenerateCall, target: Target, vocabulary_size: int) -> Ids:
        match call.source:
            case tuple() as ids:
                check_ids("token_ids.ids", ids, vocabulary_size)
                return ids
            case Conversation() as chat:
                wanted = Input(chat, "chat")
            case text:
                wanted = Input(text or "", "prompt")
        tokenizer = Tokenizer(call.model, target.version.tokenizer_digest)
        encoded = (await self._encoder.encode(tokenizer, [wanted]))[0]
        if not encoded:
            raise invalid(wanted.field, "must hold at least one token")
        return encoded

    async def _answer(self, call: GenerateCall, target: Target, ids: Ids) -> Answer:
        vocabulary = await self._vocabulary(call, target)
        # A conversation's answer stands for itself; other answers go on from their prompt.
        own = isinstance(call.source, Conversation) and not call.source.continue_last
        detokenizer = Detokenizer(vocabulary, () if own else ids) if vocabulary else None
        return Answer(detokenizer, call.stop, target.version.name, len(ids))

    async def _vocabulary(self, call: GenerateCall, target: Target) -> Vocabulary | None:
        """Return what turns ids into text, None for a caller who can do without.

        Who sends token ids and no stop strings has a tokenizer: while the tokenizer service is down and its
        artefact was never here, ids with empty texts are better than nothing.
        """
        try:
            return await self._artifacts.vocabulary(target.version.tokenizer_digest)
        except Unavailable:
            if isinstance(call.source, tuple) and not call.stop:
                return None
            raise
