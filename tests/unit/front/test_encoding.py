"""Concurrent encodes travel together, and one that is wrong fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer

from gateway.front.calls import Conversation, Ids
from gateway.front.encoding import LARGE_CHARACTERS, Encoder, Input, Tokenizer
from services.kit.errors import FailedPrecondition, InvalidArgument, Reason, Unavailable, invalid

SMOL = Tokenizer("smol", "digest")


class Desk:
    """A tokenizer service that answers when it is told to: an id is the length of its text."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.open = asyncio.Event()
        self.called = asyncio.Event()

    async def encode(self, tokenizer: Tokenizer, sources: Sequence[str | Conversation]) -> list[Ids]:
        texts = [str(source) for source in sources]
        self.calls.append(texts)
        self.called.set()
        await self.open.wait()
        for index, text in enumerate(texts):
            if text == "down":
                raise Unavailable(Reason.TOKENIZER_UNAVAILABLE, "down")
            if text == "bad":
                raise invalid(f"inputs[{index}].text", "must be good")
            if text == "no template":
                raise FailedPrecondition(Reason.TASK_UNSUPPORTED, "no template")
        return [[len(text)] for text in texts]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def encoder(desk: Desk) -> Encoder:
    return Encoder(desk.encode, NoOpTracer())


async def begin(encoder: Encoder, *texts: str, tokenizer: Tokenizer = SMOL) -> asyncio.Task[list[Ids]]:
    """Start one encode and let it get to where it waits."""
    inputs = [Input(text, f"texts[{index}]") for index, text in enumerate(texts)]
    task = asyncio.create_task(encoder.encode(tokenizer, inputs))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_what_comes_while_one_is_under_way_goes_together(encoder: Encoder, desk: Desk) -> None:
    tasks = [await begin(encoder, *texts) for texts in (["a"], ["bb", "ccc"], ["dddd"], ["eeeee"])]
    desk.open.set()
    assert await asyncio.gather(*tasks) == [[[1]], [[2], [3]], [[4]], [[5]]]
    assert desk.calls == [["a"], ["bb", "ccc", "dddd", "eeeee"]]


async def test_one_alone_goes_at_once_and_again_afterwards(encoder: Encoder, desk: Desk) -> None:
    desk.open.set()
    assert await (await begin(encoder, "a")) == [[1]]
    assert await (await begin(encoder, "bb")) == [[2]]
    assert desk.calls == [["a"], ["bb"]]


async def test_tokenizers_do_not_wait_for_each_other(encoder: Encoder, desk: Desk) -> None:
    tasks = [
        await begin(encoder, "a"),
        await begin(encoder, "bb", tokenizer=Tokenizer("smol", "digest", 128)),
    ]
    assert desk.calls == [["a"], ["bb"]]
    desk.open.set()
    await asyncio.gather(*tasks)


async def test_a_large_text_does_not_hold_up_small_ones(encoder: Encoder, desk: Desk) -> None:
    tasks = [await begin(encoder, "x" * (LARGE_CHARACTERS + 1)), await begin(encoder, "a")]
    assert len(desk.calls) == 2
    desk.open.set()
    await asyncio.gather(*tasks)


async def test_one_that_is_wrong_fails_alone_and_by_its_callers_name(encoder: Encoder, desk: Desk) -> None:
    tasks = [
        await begin(encoder, *texts) for texts in (["first"], ["a"], ["bb", "bad"], ["no template"], ["dddd"])
    ]
    desk.open.set()
    first, a, bad, unsupported, d = await asyncio.gather(*tasks, return_exceptions=True)
    assert [first, a, d] == [[[5]], [[1]], [[4]]]
    assert isinstance(bad, InvalidArgument)
    assert [each.field for each in bad.violations] == ["texts[1]"]
    assert isinstance(unsupported, FailedPrecondition)


async def test_a_tokenizer_that_is_down_fails_all_with_one_call(encoder: Encoder, desk: Desk) -> None:
    tasks = [await begin(encoder, text) for text in ("first", "a", "down", "b")]
    desk.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [list, Unavailable, Unavailable, Unavailable]
    assert len(desk.calls) == 2


async def test_who_has_left_is_dropped_and_others_go_on(encoder: Encoder, desk: Desk) -> None:
    first, left, stays = [await begin(encoder, text) for text in ("first", "left", "stays")]
    first.cancel()
    left.cancel()
    await asyncio.gather(first, left, return_exceptions=True)
    desk.open.set()
    assert await stays == [[5]]
    assert desk.calls == [["first"], ["stays"]]


async def test_a_batch_hangs_in_the_first_ones_trace_and_the_others_link_to_it(desk: Desk) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    encoder = Encoder(desk.encode, tracer)
    tasks = []
    for text in ("first", "a", "b"):
        with tracer.start_as_current_span(f"call {text}"):
            tasks.append(await begin(encoder, text))
    desk.open.set()
    await asyncio.gather(*tasks)
    a, b = sorted(
        (span for span in exporter.get_finished_spans() if span.name == "batch.wait"),
        key=lambda span: span.start_time or 0,
    )
    assert not a.links
    assert [link.context for link in b.links] == [a.context]
    parents = {span.context.span_id: span.name for span in exporter.get_finished_spans() if span.context}
    assert a.parent is not None
    assert parents[a.parent.span_id] == "call a"
