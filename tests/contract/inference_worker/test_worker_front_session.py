"""Session: what a front asks and hears on one stream, over a real server, of a worker that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trunkline.inference.v1.sampling_pb2 import SamplingParams, TokenIds
from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub, add_WorkerServiceServicer_to_server

from services.inference_worker.__main__ import SERVICE
from services.inference_worker.front_session import MOST_BYTES
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.service import WorkerService
from services.inference_worker.under_way import Embeddings, Ending, Reader
from services.inference_worker.wire import TokenLogprob
from services.kit.errors import Internal, Reason, ResourceExhausted, TrunklineError, Unavailable
from services.kit.server import Server
from services.kit.status import from_rpc_error, from_status
from services.kit.telemetry import Telemetry
from services.kit.transport import client_options
from tests.eventually import eventually

ENDING = Ending("length", 7, 3, 0.25, 0.5, 1.0, cached_tokens=4)
LONG_S = 60.0


class Call:
    """A request that the double was given."""

    def __init__(self, asked: GenerationRequest | EmbeddingRequest, reader: Reader, span: Any) -> None:
        self.asked, self.reader, self.span = asked, reader, span
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class InferenceDouble:
    """Takes requests, and says of them what a test says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refusal: TrunklineError | None = None
        self.at_once: Callable[[Call], None] | None = None

    def begin(self, asked: GenerationRequest | EmbeddingRequest, reader: Reader, span: Any = None) -> Call:
        if self.refusal:
            raise self.refusal
        call = Call(asked, reader, span)
        self.calls.append(call)
        if self.at_once:
            asyncio.get_running_loop().call_soon(self.at_once, call)
        return call

    async def has(self, count: int) -> list[Call]:
        """Return the calls once there are `count`."""

        async def there() -> bool:
            return len(self.calls) >= count

        await eventually(there, within=LONG_S)
        return self.calls


class Front:
    """A front's end of the stream."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def send(self, *submits: pb.SessionSubmit, cancels: tuple[int, ...] = ()) -> None:
        await self.call.write(pb.SessionRequest(submits=submits, cancels=cancels))

    async def hear(self) -> pb.SessionResponse:
        async with asyncio.timeout(LONG_S):
            message = await self.call.read()
        assert message is not grpc.aio.EOF
        assert isinstance(message, pb.SessionResponse)
        return message

    async def endings(self, count: int) -> dict[int, pb.SessionEnding]:
        """Return the next `count` endings by their ids."""
        found: dict[int, pb.SessionEnding] = {}
        while len(found) < count:
            found |= {each.id: each for each in (await self.hear()).endings}
        return found

    async def refusal(self) -> TrunklineError:
        """Return the error that the stream ends with."""
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await self._to_the_end()
        return from_rpc_error(failed.value)

    async def _to_the_end(self) -> None:
        async with asyncio.timeout(LONG_S):
            while await self.call.read() is not grpc.aio.EOF:
                pass


class Running:
    """A server with the double behind it."""

    def __init__(
        self, inference: InferenceDouble, server: Server, channel: grpc.aio.Channel, spans: Any
    ) -> None:
        self.inference, self.server, self.channel, self.spans = inference, server, channel, spans

    def front(self) -> Front:
        stub: Any = WorkerServiceStub(self.channel)
        return Front(stub.Session())


@asynccontextmanager
async def serving() -> AsyncIterator[Running]:
    spans, inference = InMemorySpanExporter(), InferenceDouble()
    telemetry = Telemetry.of(Resource.get_empty(), processor=SimpleSpanProcessor(spans))
    server = Server("127.0.0.1:0", telemetry, grace=0.5)
    unused: Any = None
    double: Any = inference
    service = WorkerService(double, unused, unused, telemetry, server.draining)
    server.add(SERVICE, add_WorkerServiceServicer_to_server, service)
    async with server:
        address = f"127.0.0.1:{await server.start()}"
        async with grpc.aio.insecure_channel(address, options=client_options()) as channel:
            yield Running(inference, server, channel, spans)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with serving() as found:
        yield found


def generate(request_id: int, **fields: Any) -> pb.SessionSubmit:
    request = pb.GenerateRequest(model="m", token_ids=[1, 2], sampling=SamplingParams(max_tokens=9), **fields)
    return pb.SessionSubmit(id=request_id, generate=request)


def embed(request_id: int) -> pb.SessionSubmit:
    return pb.SessionSubmit(id=request_id, embed=pb.EmbedRequest(model="m", inputs=[TokenIds(ids=[1, 2, 3])]))


async def test_one_step_is_one_message_for_all_requests(running: Running) -> None:
    front = running.front()
    await front.send(generate(5), generate(6), generate(7))
    calls = await running.inference.has(3)
    for number, call in enumerate(calls):
        call.reader.made([10 * number + each for each in range(number + 1)], [])
    message = await front.hear()
    assert list(message.ids) == [5, 6, 7]
    assert list(message.counts) == [1, 2, 3]
    assert list(message.token_ids) == [0, 10, 11, 20, 21, 22]


async def test_each_request_ends_with_its_own_last_word(running: Running) -> None:
    front = running.front()
    await front.send(generate(1, tenant="acme", priority=-3), embed(2), generate(3))
    first, second, third = await running.inference.has(3)
    assert isinstance(first.asked, GenerationRequest)
    assert (first.asked.tenant, first.asked.priority) == ("acme", -3)
    first.reader.made([4], [TokenLogprob(4, -0.5, [(4, -0.5)])])
    first.reader.ended(ENDING)
    second.reader.ended(Embeddings(b"\0" * 8, 2, 3))
    third.reader.ended(Unavailable(Reason.ENGINE_LOST, "gone", metadata={"device": "cpu"}))
    message = await front.hear()
    assert [(each.id, each.logprobs[0].token_id) for each in message.logprobs] == [(1, 4)]
    finish, vectors, failure = message.endings
    assert (finish.id, finish.finish.usage.cached_tokens, finish.finish.usage.prompt_tokens) == (1, 4, 7)
    assert finish.finish.timings.prefill.ToTimedelta().total_seconds() == 0.5
    assert (vectors.id, vectors.embeddings.dimensions, len(vectors.embeddings.values)) == (2, 2, 8)
    assert from_status(failure.error).metadata == {"device": "cpu"}


async def test_a_refused_request_leaves_the_others_alone(running: Running) -> None:
    front = running.front()
    running.inference.refusal = ResourceExhausted(Reason.QUEUE_FULL, "full", retry_after=2)
    nameless, empty = (
        pb.SessionSubmit(id=2, generate=pb.GenerateRequest(model="../x")),
        pb.SessionSubmit(id=3),
    )
    await front.send(generate(1), nameless, empty)
    errors = {each: from_status(found.error) for each, found in (await front.endings(3)).items()}
    assert (errors[1].code, errors[1].retry_after) == ("RESOURCE_EXHAUSTED", 2)
    assert [errors[each].reason for each in (2, 3)] == [Reason.FIELD_INVALID] * 2
    running.inference.refusal = None
    await front.send(generate(4))
    (call,) = await running.inference.has(1)
    call.reader.ended(ENDING)
    assert list(await front.endings(1)) == [4]


async def test_a_cancelled_request_is_left_and_not_spoken_of(running: Running) -> None:
    front = running.front()
    await front.send(generate(1), generate(2))
    first, second = await running.inference.has(2)
    await front.send(cancels=(1, 1, 99))
    await eventually(lambda: closed(first), within=LONG_S)
    second.reader.ended(ENDING)
    message = await front.hear()
    assert not message.ids
    assert [each.id for each in message.endings] == [2]


async def closed(call: Call) -> bool:
    return call.closed == 1


@pytest.mark.parametrize("request_id", [0, 1])
async def test_an_id_that_means_nothing_ends_the_stream(running: Running, request_id: int) -> None:
    front = running.front()
    await front.send(generate(1))
    (call,) = await running.inference.has(1)
    await front.send(generate(request_id))
    error = await front.refusal()
    assert (error.reason, error.violations[0].field) == (Reason.FIELD_INVALID, "submits.id")
    assert call.closed == 1


async def test_bytes_that_are_no_message_end_the_stream(running: Running) -> None:
    front = Front(running.channel.stream_stream(f"/{SERVICE}/Session")())
    await front.call.write(b"\xff\xff\xff")
    assert (await front.refusal()).reason == Reason.REQUEST_MALFORMED


async def test_a_front_that_goes_takes_its_requests_with_it(running: Running) -> None:
    front = running.front()
    await front.send(generate(1), generate(2))
    calls = await running.inference.has(2)
    front.call.cancel()
    for call in calls:
        await eventually(lambda call=call: closed(call), within=LONG_S)  # type: ignore[misc]


async def test_a_half_close_lets_what_is_under_way_end(running: Running) -> None:
    front = running.front()
    await front.send(generate(1))
    (call,) = await running.inference.has(1)
    await front.call.done_writing()
    call.reader.made([4], [])
    assert list((await front.hear()).token_ids) == [4]
    call.reader.ended(ENDING)
    assert [each.id for each in (await front.hear()).endings] == [1]
    async with asyncio.timeout(LONG_S):
        assert await front.call.read() is grpc.aio.EOF
    assert await front.call.code() is grpc.StatusCode.OK


async def test_a_worker_that_stops_takes_nothing_new_and_ends_with_the_last_request(running: Running) -> None:
    front, idle = running.front(), running.front()
    await front.send(generate(1))
    (call,) = await running.inference.has(1)
    await idle.send()
    stopping = asyncio.create_task(running.server.stop(grace=LONG_S))
    await running.server.draining.wait()
    await front.send(generate(2))
    refused = (await front.endings(1))[2]
    assert from_status(refused.error).reason == Reason.DRAINING
    assert (await idle.refusal()).reason == Reason.DRAINING
    call.reader.ended(ENDING)
    assert list(await front.endings(1)) == [1]
    assert (await front.refusal()).reason == Reason.DRAINING
    await stopping


async def test_a_stop_does_not_wait_for_ever(running: Running) -> None:
    front = running.front()
    await front.send(generate(1))
    (call,) = await running.inference.has(1)
    await running.server.stop(grace=0.05)
    assert (await front.refusal()).reason == Reason.DRAINING
    assert call.closed == 1


async def test_many_vectors_travel_in_messages_of_a_size(running: Running) -> None:
    front = running.front()
    await front.send(*(embed(each) for each in range(1, 6)))
    for call in await running.inference.has(5):
        call.reader.ended(Embeddings(bytes(MOST_BYTES // 2), 1, 3))
    sizes = []
    while sum(sizes) < 5:
        sizes.append(len((await front.hear()).endings))
    assert max(sizes) <= 3
    assert sum(sizes) == 5


async def test_a_request_is_observed_as_the_call_that_it_stands_for(running: Running) -> None:
    front = running.front()
    submit = generate(1)
    submit.traceparent = f"00-{7:032x}-{9:016x}-01"
    await front.send(submit, generate(2), cancels=(2,))
    (call, _) = await running.inference.has(2)
    call.reader.ended(ENDING)
    await front.endings(1)
    spans = {span.parent.span_id if span.parent else 0: span for span in running.spans.get_finished_spans()}
    assert spans[9].name == f"{SERVICE}/Generate"
    assert spans[9].context.trace_id == 7
    assert spans[9].attributes["rpc.response.status_code"] == "OK"
    assert spans[0].attributes["rpc.response.status_code"] == "CANCELLED"
    assert call.span.get_span_context().span_id == spans[9].context.span_id


NUMBERS = st.integers(0, 2**64 - 1)
TEXTS = st.text(max_size=70)
REQUESTS = st.builds(
    pb.GenerateRequest,
    model=st.sampled_from(["m", "", "M/..", "x" * 99]),
    version=TEXTS,
    token_ids=st.lists(st.integers(0, 2**32 - 1), max_size=5),
    tenant=TEXTS,
    priority=st.integers(-(2**31), 2**31 - 1),
)
EMBEDS = st.builds(pb.EmbedRequest, model=st.sampled_from(["m", ""]), pooling=st.integers(-1, 9))
SUBMITS = st.builds(
    pb.SessionSubmit,
    id=st.one_of(st.integers(0, 5), NUMBERS),
    generate=st.one_of(st.none(), REQUESTS),
    traceparent=st.one_of(TEXTS, st.just(f"00-{7:032x}-{9:016x}-01")),
    tracestate=TEXTS,
) | st.builds(pb.SessionSubmit, id=st.integers(1, 9), embed=EMBEDS)
MESSAGES = st.builds(
    pb.SessionRequest,
    submits=st.lists(SUBMITS, max_size=6),
    cancels=st.lists(st.one_of(st.integers(0, 9), NUMBERS), max_size=6),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting() -> AsyncIterator[Running]:
    async with serving() as found:
        found.inference.at_once = lambda call: call.reader.ended(ENDING) if not call.closed else None
        yield found


@pytest.mark.asyncio(loop_scope="module")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(MESSAGES, max_size=4))
async def test_odd_messages_are_answered_or_refused_and_the_next_session_works(
    lasting: Running, messages: list[pb.SessionRequest]
) -> None:
    front = lasting.front()
    reasons: set[Reason | str] = set()
    try:
        for message in messages:
            await front.call.write(message)
        await front.call.done_writing()
        async with asyncio.timeout(LONG_S):
            async for response in front.call:
                reasons |= {from_status(each.error).reason for each in response.endings if each.error.code}
    except grpc.aio.AioRpcError as error:
        refusal = from_rpc_error(error)
        # A refusal that overtakes what is still being written may reach the writer as a bare reset.
        if not isinstance(refusal, Internal) or "error_id" in refusal.metadata:
            reasons.add(refusal.reason)
    except asyncio.InvalidStateError:
        pass  # written to a stream that has been refused
    assert reasons <= {Reason.FIELD_INVALID}
    after = lasting.front()
    await after.send(generate(1))
    assert list(await after.endings(1)) == [1]
    after.call.cancel()


async def test_ten_thousand_requests_in_a_message_all_get_an_answer(running: Running) -> None:
    running.inference.refusal = ResourceExhausted(Reason.QUEUE_FULL, "full")
    front = running.front()
    await front.send(*(generate(each) for each in range(1, 10_001)), cancels=tuple(range(20_000, 30_000)))
    assert len(await front.endings(10_000)) == 10_000
