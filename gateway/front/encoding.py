"""Text to token ids: concurrent encodes for one tokenizer travel as one call to the tokenizer service."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Tracer

from gateway.front.calls import Conversation, Ids
from gateway.front.limits import renamed
from services.kit import semconv
from services.kit.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument

# One call holds no more than this; the service refuses more inputs.
MOST_INPUTS = 2_048
MOST_CHARACTERS = 1 << 20
# An encode larger than this goes by itself, so that small ones do not wait for it.
LARGE_CHARACTERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Input:
    """A text or a conversation, and the field of the caller's request that holds it."""

    source: str | Conversation
    field: str

    @property
    def characters(self) -> int:
        """How much there is to encode."""
        if isinstance(self.source, str):
            return len(self.source)
        return sum(len(message.content) for message in self.source.messages)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Which tokenizer, and how it is used: `model`'s, cutting inputs off at `limit` tokens (None: never)."""

    model: str
    digest: str
    limit: int | None = None


# Takes inputs for one tokenizer; returns the ids of each, in order. Raises TrunklineErrors.
EncodeRpc = Callable[[Tokenizer, Sequence[str | Conversation]], Awaitable[list[Ids]]]


@dataclass(eq=False, slots=True)
class _Wish:
    """What one caller wants encoded while others are under way."""

    inputs: Sequence[Input]
    characters: int
    answer: asyncio.Future[list[Ids]]
    context: contextvars.Context
    """The caller's: its trace and its deadline."""
    span: trace.Span


class Encoder:
    """Encodes at once while a tokenizer has nothing under way; what comes meanwhile goes next, together."""

    def __init__(self, rpc: EncodeRpc, tracer: Tracer) -> None:
        self._rpc = rpc
        self._tracer = tracer
        self._waiting: dict[Tokenizer, deque[_Wish]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def encode(self, tokenizer: Tokenizer, inputs: Sequence[Input]) -> list[Ids]:
        """Return the ids of each input.

        Raises what the service raises, with the fields of `inputs` in place of its own: InvalidArgument,
        FailedPrecondition (TASK_UNSUPPORTED), ResourceExhausted, Unavailable (TOKENIZER_UNAVAILABLE).
        """
        characters = sum(each.characters for each in inputs)
        if characters > LARGE_CHARACTERS:
            return await self._alone(tokenizer, inputs)
        if tokenizer in self._waiting:
            return await self._next_time(tokenizer, inputs, characters)
        self._waiting[tokenizer] = deque()
        try:
            return await self._alone(tokenizer, inputs)
        finally:
            if self._waiting[tokenizer]:
                self._start(self._drain(tokenizer), contextvars.Context())
            else:
                del self._waiting[tokenizer]

    async def _alone(self, tokenizer: Tokenizer, inputs: Sequence[Input]) -> list[Ids]:
        try:
            return await self._rpc(tokenizer, [each.source for each in inputs])
        except InvalidArgument as error:
            raise renamed(error, [each.field for each in inputs]) from error

    async def _next_time(self, tokenizer: Tokenizer, inputs: Sequence[Input], characters: int) -> list[Ids]:
        if not trace.get_current_span().is_recording():
            return await self._wait(tokenizer, inputs, characters)
        with self._tracer.start_as_current_span(semconv.SPAN_BATCH_WAIT):
            return await self._wait(tokenizer, inputs, characters)

    async def _wait(self, tokenizer: Tokenizer, inputs: Sequence[Input], characters: int) -> list[Ids]:
        answer: asyncio.Future[list[Ids]] = asyncio.get_running_loop().create_future()
        context, span = contextvars.copy_context(), trace.get_current_span()
        self._waiting[tokenizer].append(_Wish(inputs, characters, answer, context, span))
        return await answer

    async def _drain(self, tokenizer: Tokenizer) -> None:
        while wishes := _take(self._waiting[tokenizer]):
            await self._start(self._together(tokenizer, wishes), wishes[0].context)
        del self._waiting[tokenizer]

    async def _together(self, tokenizer: Tokenizer, wishes: list[_Wish]) -> None:
        """Encode for all in the first one's context: its trace holds the call, the others link to it."""
        for wish in wishes[1:]:
            wish.span.add_link(wishes[0].span.get_span_context())
        try:
            ids = await self._rpc(tokenizer, [each.source for wish in wishes for each in wish.inputs])
            _share(wishes, ids)
        except (InvalidArgument, FailedPrecondition, DeadlineExceeded):
            # One input is at fault, or the first one's deadline: each goes alone, and only that one fails.
            alone = [self._start(self._answer(tokenizer, wish), wish.context) for wish in wishes]
            await asyncio.gather(*alone)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            _fail(wishes, error)

    async def _answer(self, tokenizer: Tokenizer, wish: _Wish) -> None:
        try:
            _share([wish], await self._alone(tokenizer, wish.inputs))
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            _fail([wish], error)

    def _start(self, work: Coroutine[Any, Any, None], context: contextvars.Context) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _take(waiting: deque[_Wish]) -> list[_Wish]:
    """Take the wishes that fit one call, first come first served; what nobody awaits any more is dropped."""
    taken: list[_Wish] = []
    inputs = characters = 0
    while waiting:
        wish = waiting[0]
        inputs, characters = inputs + len(wish.inputs), characters + wish.characters
        if taken and (inputs > MOST_INPUTS or characters > MOST_CHARACTERS):
            break
        waiting.popleft()
        if wish.answer.done():
            inputs, characters = inputs - len(wish.inputs), characters - wish.characters
        else:
            taken.append(wish)
    return taken


def _share(wishes: Sequence[_Wish], ids: list[Ids]) -> None:
    start = 0
    for wish in wishes:
        if not wish.answer.done():
            wish.answer.set_result(ids[start : start + len(wish.inputs)])
        start += len(wish.inputs)


def _fail(wishes: Sequence[_Wish], error: Exception) -> None:
    for wish in wishes:
        if not wish.answer.done():
            wish.answer.set_exception(error)
