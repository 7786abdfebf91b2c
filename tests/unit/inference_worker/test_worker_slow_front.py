"""A front that reads slowly gets fewer, larger messages, and the engine never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from services.inference_worker import front_session
from services.inference_worker.front_session import FrontSession, Order, Orders, Piece
from services.inference_worker.requests import GenerationRequest
from services.inference_worker.session_messages import session_response
from services.inference_worker.under_way import Ending, Reader
from services.inference_worker.wire import TokenLogprob
from tests.eventually import eventually

ENDING = Ending("stop", 1, 2, 0.0, 0.0, 0.0)


class Call:
    def close(self) -> None:
        """Be left."""


class Readers:
    """Stands for the inference: keeps who reads."""

    def __init__(self, at_once: Ending | None = None) -> None:
        self.readers: list[Reader] = []
        self._at_once = at_once

    def begin(self, _asked: GenerationRequest, reader: Reader, _span: Span) -> Call:
        self.readers.append(reader)
        if self._at_once:
            reader.ended(self._at_once)
        return Call()


class Unrecorded:
    def start(self, _parent: Context | None = None) -> Span:
        return INVALID_SPAN

    def finish(self, _span: Span, _code: str, _seconds: float) -> None:
        """Keep nothing."""


async def orders(*ids: int) -> AsyncIterator[Orders]:
    """Yield one message of requests, and then leave the stream open."""
    asked = GenerationRequest("m", "", [1], None)
    yield [Order(each, "Generate", asked, Context()) for each in ids], ()
    await asyncio.Event().wait()


async def begun(inference: Readers, *ids: int) -> Any:
    """Return what a session yields, once its requests have begun."""
    double: Any = inference
    session = FrontSession(double, {"Generate": Unrecorded()}, asyncio.Event())
    made = session.serve(orders(*ids))
    reading = asyncio.create_task(anext(made))

    async def all_begun() -> bool:
        return len(inference.readers) == len(ids)

    await eventually(all_begun, within=60)
    inference.readers[0].made([100], [])
    assert told(await reading) == [(1, [100], False)]
    return made


def told(pieces: Sequence[Piece]) -> list[tuple[int, list[int], bool]]:
    return [(piece.id, piece.tokens, piece.outcome is not None) for piece in pieces]


async def test_all_that_waits_of_a_request_is_one_piece_and_all_pieces_one_message():
    inference = Readers()
    made = await begun(inference, 1, 2)
    first, second = inference.readers
    for step in range(1_000):
        first.made([step], [TokenLogprob(step, -1.0, [])])
        second.made([step, step], [])
    first.ended(ENDING)
    pieces = await anext(made)
    counted = list(range(1_000))
    assert told(pieces) == [(1, counted, True), (2, [each for each in counted for _ in range(2)], False)]
    assert len(pieces[0].logprobs) == 1_000
    message = session_response(pieces)
    assert (list(message.counts), len(message.endings)) == ([1_000, 2_000], 1)
    await made.aclose()


async def test_while_too_much_waits_to_be_read_nothing_more_is_taken(monkeypatch: Any):
    monkeypatch.setattr(front_session, "MOST_WAITING", 64)
    inference = Readers(at_once=ENDING)
    double: Any = inference
    session = FrontSession(double, {"Generate": Unrecorded()}, asyncio.Event())
    made = session.serve(orders(*range(1, 513)))
    read = len(await anext(made))
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert len(inference.readers) <= read + 2 * 64
    while read < 512:
        read += len(await anext(made))
    assert len(inference.readers) == read == 512
    await made.aclose()
