"""What one front has under way with this worker: requests and cancels in, all that a step made out as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Span

from services.inference_worker.inference import Inference
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.under_way import Embeddings, Outcome, UnderWay
from services.inference_worker.wire import TokenLogprob
from services.kit import semconv
from services.kit.errors import Reason, TrunklineError, Unavailable, invalid

MOST_BYTES = 8 << 20
"""Vectors of one message, unless a single request has more: a message may have 64 MiB."""
MOST_WAITING = 4_096
"""While the words on so many requests wait to be read, no more requests are taken."""
_AT_ONCE = 64


class Record(Protocol):
    """What telemetry keeps of one kind of request."""

    def start(self, parent: Context | None = None) -> Span:
        """Begin the span of a request."""
        ...

    def finish(self, span: Span, code: str, seconds: float) -> None:
        """End it, and count it: `code` is the name of its status."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """A request as it came; `rpc` names its kind. Where it is none, `asked` is the error to answer."""

    id: int
    rpc: str
    asked: GenerationRequest | EmbeddingRequest | TrunklineError
    parent: Context


Orders = tuple[Sequence[Order], Sequence[int]]
"""What a front sends in one message: requests to begin, and then ids to forget."""


@dataclass(slots=True)
class Piece:
    """What is new of one request."""

    id: int
    tokens: list[int]
    logprobs: list[TokenLogprob]
    outcome: Outcome | None = None


class FrontSession:
    """Serves one front. A front that reads slowly costs what its answers hold, and delays nobody."""

    def __init__(self, inference: Inference, records: Mapping[str, Record], draining: asyncio.Event) -> None:
        self._inference = inference
        self._records = records
        self._draining = draining
        self._asked: dict[int, _Asked] = {}
        self._pieces: dict[int, Piece] = {}
        self._vector_bytes = 0
        self._news = asyncio.Event()
        self._read = asyncio.Event()

    async def serve(self, orders: AsyncIterator[Orders]) -> AsyncGenerator[list[Piece], None]:
        """Yield what is new, as often as it is asked for; ends after the last order's last word.

        Leaving it makes the engines forget its requests before their next step. Raises InvalidArgument for
        an id that is 0 or under way, what `orders` raises, and Unavailable (DRAINING).
        """
        feeding = asyncio.create_task(self._feed(orders))
        watching = asyncio.create_task(self._draining.wait())
        for task in (feeding, watching):
            task.add_done_callback(lambda _: self._news.set())
        try:
            while self._asked or not (feeding.done() or watching.done()):
                await self._news.wait()
                self._news.clear()
                while pieces := self._take():
                    yield pieces
                if feeding.done():
                    feeding.result()
            if watching.done():
                raise _draining()
        finally:
            feeding.cancel()
            watching.cancel()
            for request_id in list(self._asked):
                self.cancel(request_id)

    def submit(self, order: Order) -> None:
        """Begin a request; whatever is wrong with it is its last word."""
        if not order.id or order.id in self._asked or order.id in self._pieces:
            raise invalid("submits.id", f"must be above 0 and of no request under way, not {order.id}")
        record = self._records[order.rpc]
        asked = self._asked[order.id] = _Asked(self, order.id, record, record.start(order.parent))
        try:
            if self._draining.is_set():
                raise _draining()
            if isinstance(order.asked, TrunklineError):
                raise order.asked
            asked.call = self._inference.begin(order.asked, asked, asked.span)
        except TrunklineError as error:
            asked.ended(error)

    def cancel(self, request_id: int) -> None:
        """Forget a request that is under way, and what waits to be read of it."""
        asked = self._asked.pop(request_id, None)
        if asked is not None:
            self._pieces.pop(request_id, None)
            asked.leave()

    def add(self, request_id: int, tokens: list[int], logprobs: list[TokenLogprob]) -> Piece:
        """Put what is new of a request to what waits of it."""
        self._news.set()
        piece = self._pieces.get(request_id)
        if piece is None:
            piece = self._pieces[request_id] = Piece(request_id, tokens, logprobs)
        else:
            piece.tokens += tokens
            piece.logprobs += logprobs
        return piece

    def end(self, request_id: int, outcome: Outcome) -> None:
        """Put a request's last word to what waits of it."""
        del self._asked[request_id]
        self.add(request_id, [], []).outcome = outcome
        if isinstance(outcome, Embeddings):
            self._vector_bytes += len(outcome.values)

    async def _feed(self, orders: AsyncIterator[Orders]) -> None:
        async for submits, cancels in orders:
            for start in range(0, len(submits), _AT_ONCE):
                for order in submits[start : start + _AT_ONCE]:
                    self.submit(order)
                await self._caught_up()
            for request_id in cancels:
                self.cancel(request_id)

    async def _caught_up(self) -> None:
        await asyncio.sleep(0)
        while len(self._pieces) >= MOST_WAITING:
            self._read.clear()
            await self._read.wait()

    def _take(self) -> list[Piece]:
        self._read.set()
        if self._vector_bytes <= MOST_BYTES:
            taken, self._pieces, self._vector_bytes = list(self._pieces.values()), {}, 0
            return taken
        taken, size = [], 0
        with suppress(StopIteration):
            while size < MOST_BYTES:
                piece = self._pieces.pop(next(iter(self._pieces)))
                taken.append(piece)
                size += len(piece.outcome.values) if isinstance(piece.outcome, Embeddings) else 0
        self._vector_bytes -= size
        return taken


class _Asked:
    """One request of a session: the reader that its engine's call tells."""

    __slots__ = ("_began", "_record", "_session", "call", "id", "span")

    def __init__(self, session: FrontSession, request_id: int, record: Record, span: Span) -> None:
        self.id = request_id
        self.span = span
        self.call: UnderWay | None = None
        self._session = session
        self._record = record
        self._began = perf_counter()

    def made(self, tokens: list[int], logprobs: list[TokenLogprob]) -> None:
        self._session.add(self.id, tokens, logprobs)

    def ended(self, outcome: Outcome) -> None:
        code = "OK"
        if isinstance(outcome, TrunklineError):
            code = outcome.code
            self.span.set_attribute(semconv.ERROR_REASON, str(outcome.reason))
        self._record.finish(self.span, code, perf_counter() - self._began)
        self._session.end(self.id, outcome)

    def leave(self) -> None:
        """Let the engine forget it."""
        if self.call is not None:
            self.call.close()
        self._record.finish(self.span, "CANCELLED", perf_counter() - self._began)


def _draining() -> Unavailable:
    return Unavailable(Reason.DRAINING, "the worker is stopping; submit to another one")
