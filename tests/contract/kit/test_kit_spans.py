from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from services.kit import rpc, semconv
from services.kit.tracing import traced
from tests.contract.kit.probe import KINDS, SERVICE, House, Recorder, Stub, call, house, outcome, overdue


def pair(spans: list[ReadableSpan]) -> tuple[ReadableSpan, ReadableSpan]:
    """Return the client's and the server's span, of which there is exactly one each."""
    assert len(spans) == 2
    client = next(span for span in spans if span.kind is SpanKind.CLIENT)
    server = next(span for span in spans if span.kind is SpanKind.SERVER)
    return client, server


def code(span: ReadableSpan) -> Any:
    return (span.attributes or {})[semconv.RPC_RESPONSE_STATUS_CODE]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_is_one_span_on_each_side(running: House, kind: str):
    await outcome(call(running.stub, kind, "echo"))
    client, server = pair(await running.recorder.ended(2))
    assert client.name == server.name == f"{SERVICE}/{kind}"
    assert server.parent is not None
    assert client.context is not None
    assert (server.parent.span_id, server.parent.trace_id) == (
        client.context.span_id,
        client.context.trace_id,
    )
    assert (code(client), code(server)) == ("OK", "OK")
    attributes = dict(client.attributes or {})
    assert attributes[semconv.RPC_SYSTEM_NAME] == "grpc"
    assert attributes[semconv.RPC_METHOD] == f"{SERVICE}/{kind}"
    assert (attributes[semconv.SERVER_ADDRESS], attributes[semconv.SERVER_PORT]) == (
        "127.0.0.1",
        running.port,
    )
    assert client.status.status_code is server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("word", "status", "is_our_fault"), [("missing", "NOT_FOUND", False), ("crash", "INTERNAL", True)]
)
async def test_the_span_of_a_failed_call_says_so(
    running: House, kind: str, word: str, status: str, is_our_fault: bool
):
    with pytest.raises(grpc.aio.AioRpcError):
        await outcome(call(running.stub, kind, word))
    client, server = pair(await running.recorder.ended(2))
    assert (code(client), code(server)) == (status, status)
    assert client.status.status_code is StatusCode.ERROR
    assert (server.status.status_code is StatusCode.ERROR) is is_our_fault
    assert (server.attributes or {}).get(semconv.ERROR_TYPE) == (status if is_our_fault else None)
    assert semconv.ERROR_REASON in (server.attributes or {})


@pytest.mark.parametrize("kind", KINDS)
async def test_the_span_of_a_cancelled_call_says_so(running: House, kind: str):
    task = asyncio.create_task(outcome(call(running.stub, kind, "hang")))
    await running.probe.hanging.wait()
    task.cancel()
    client, server = pair(await running.recorder.ended(2))
    assert (code(client), code(server)) == ("CANCELLED", "CANCELLED")
    assert server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("kind", KINDS)
async def test_the_span_of_a_call_past_its_deadline_says_so(running: House, kind: str):
    assert (await overdue(running, kind)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    spans = await running.recorder.ended(2)
    assert {code(span) for span in spans if span.kind is SpanKind.CLIENT} == {"DEADLINE_EXCEEDED"}
    # The caller's clock began before ours by the way of the request. When that is long, a caller who gave up
    # at its deadline looks like one who left: both send the same reset.
    assert {code(span) for span in spans if span.kind is SpanKind.SERVER} <= {
        "DEADLINE_EXCEEDED",
        "CANCELLED",
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_the_span_of_a_call_past_the_deadline_of_its_kind_says_so(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(rpc._BY_NAME, kind, 0.1)
    async with house() as hasty, grpc.aio.insecure_channel(f"127.0.0.1:{hasty.port}") as plain:
        with pytest.raises(grpc.aio.AioRpcError):
            await outcome(call(Stub(plain), kind, "hang"))
        (server,) = await hasty.recorder.ended(1)
    assert code(server) == "DEADLINE_EXCEEDED"


@dataclass
class Left:
    """A call whose caller has left, with these seconds to its deadline."""

    seconds: float | None

    def time_remaining(self) -> float | None:
        return self.seconds

    def invocation_metadata(self) -> None:
        return None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "CANCELLED"), (20.0, "CANCELLED"), (0.02, "DEADLINE_EXCEEDED"), (0.0, "DEADLINE_EXCEEDED")],
)
async def test_a_caller_who_leaves_at_its_deadline_has_not_cancelled(seconds: float | None, said: str):
    recorder = Recorder()

    async def leave(_request: Any, _context: Any) -> None:
        raise asyncio.CancelledError

    handle = traced(recorder.telemetry)(
        rpc.parse("/a.B/C", client_streaming=False, server_streaming=False), leave
    )
    with pytest.raises(asyncio.CancelledError):
        await handle(None, Left(seconds))
    (span,) = recorder.spans
    assert code(span) == said
    recorder.telemetry.close()


async def test_a_stream_that_is_broken_off_still_has_its_spans(running: House):
    stream = call(running.stub, "ServerStream", "count 1000000")
    await stream.read()
    stream.cancel()
    client, server = pair(await running.recorder.ended(2))
    assert (code(client), code(server)) == ("CANCELLED", "CANCELLED")
    assert [event.name for event in server.events] == [semconv.FIRST_MESSAGE]


async def test_a_stream_has_one_event_however_many_messages_it_has(running: House):
    assert len(await outcome(call(running.stub, "ServerStream", "count 100"))) == 100
    _, server = pair(await running.recorder.ended(2))
    assert [event.name for event in server.events] == [semconv.FIRST_MESSAGE]


async def test_a_handlers_own_calls_and_spans_belong_to_its_trace(running: House):
    async with house(running.stub) as front:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(front.stub, "Unary", "pass on")
        _, outer = pair(await front.recorder.ended(2))
    client, inner = pair(await running.recorder.ended(2))
    assert outer.context is not None
    assert client.parent is not None
    assert client.parent.span_id == outer.context.span_id
    assert inner.context is not None
    assert inner.context.trace_id == outer.context.trace_id


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_the_callers_sampling_decision_and_state_hold(running: House, flags: str):
    parent = f"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as plain:
        await call(Stub(plain), "Unary", "echo", metadata=(("traceparent", parent), ("tracestate", "a=1")))
        await call(Stub(plain), "Unary", "echo", metadata=(("traceparent", "00-nonsense-01"),))
    spans = await running.recorder.ended(1 + int(flags))
    traces = [span.context for span in spans if span.context and span.parent]
    assert [f"{each.trace_id:x}" for each in traces] == ["4bf92f3577b34da6a3ce929d0e0e4736"] * int(flags)
    assert [each.trace_state.get("a") for each in traces] == ["1"] * int(flags)


async def test_health_and_reflection_make_no_spans(running: House):
    stub: Any = health_pb2_grpc.HealthStub(running.channel)
    await stub.Check(health_pb2.HealthCheckRequest())
    await call(running.stub, "Unary", "echo")
    assert {span.name for span in await running.recorder.ended(2)} == {f"{SERVICE}/Unary"}


async def test_a_call_that_could_not_begin_has_its_span(running: House):
    await running.channels.close()
    with pytest.raises(grpc.aio.UsageError):
        await call(running.stub, "Unary", "echo")
    (span,) = await running.recorder.ended(1)
    assert (span.kind, code(span)) == (SpanKind.CLIENT, "UNKNOWN")


async def test_a_caller_cannot_make_up_the_names_of_spans(running: House):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as plain:
        with pytest.raises(grpc.aio.AioRpcError):
            await plain.unary_unary("/made.up.Service/Name")(b"")
    (span,) = await running.recorder.ended(1)
    assert (span.name, code(span)) == ("_OTHER/_OTHER", "UNIMPLEMENTED")


async def test_durations_are_counted_by_method_and_status(running: House):
    await call(running.stub, "Unary", "echo")
    with pytest.raises(grpc.aio.AioRpcError):
        await call(running.stub, "Unary", "missing")
    await running.recorder.ended(4)
    data = running.recorder.reader.get_metrics_data()
    assert data is not None
    metrics = {each.name: each for each in data.resource_metrics[0].scope_metrics[0].metrics}
    for name in (semconv.RPC_SERVER_CALL_DURATION, semconv.RPC_CLIENT_CALL_DURATION):
        points: Any = metrics[name].data.data_points
        counts = {point.attributes[semconv.RPC_RESPONSE_STATUS_CODE]: point.count for point in points}
        assert counts == {"OK": 1, "NOT_FOUND": 1}
        assert metrics[name].unit == "s"
        assert points[0].explicit_bounds == semconv.DURATION_BUCKETS_S
    assert {semconv.PROCESS_CPU_TIME, semconv.PROCESS_MEMORY_USAGE} <= set(metrics)
