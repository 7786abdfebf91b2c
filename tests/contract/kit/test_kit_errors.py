from __future__ import annotations

import logging

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.kit.channel import Channels
from services.kit.errors import Reason, TrunklineError, Violation
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import KINDS, SERVICE, House, Stub, call, house, outcome
from tests.free_ports import free_ports


async def failure(started: object) -> TrunklineError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(started)
    return from_rpc_error(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_reaches_the_caller_with_all_it_says(running: House, kind: str):
    missing = await failure(call(running.stub, kind, "missing"))
    assert (missing.code, missing.reason, missing.message) == (
        "NOT_FOUND",
        Reason.MODEL_NOT_FOUND,
        "no model “x” here",
    )
    assert missing.metadata == {"model": "x"}
    invalid = await failure(call(running.stub, kind, "invalid"))
    assert invalid.violations == (Violation("top_p", "must be at most 1"), Violation("seed", "must be set"))
    full = await failure(call(running.stub, kind, "full"))
    assert (full.code, full.retry_after) == ("RESOURCE_EXHAUSTED", 0.25)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_text_of_an_unforeseen_exception_stays_in_the_log(
    running: House, kind: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        error = await failure(call(running.stub, kind, "crash"))
    assert (error.code, error.reason) == ("INTERNAL", Reason.INTERNAL)
    assert "secret" not in str(error.__cause__)
    (record,) = caplog.records
    assert record.error_id == error.metadata["error_id"]
    assert "a secret" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_that_are_no_request_are_malformed(running: House, kind: str):
    raw = Stub(running.channel)
    path = f"/{SERVICE}/{kind}"
    maker = {
        "Unary": running.channel.unary_unary,
        "ServerStream": running.channel.unary_stream,
        "ClientStream": running.channel.stream_unary,
        "Both": running.channel.stream_stream,
    }[kind]
    setattr(
        raw,
        kind,
        maker(path, request_serializer=lambda _: b"\xff", response_deserializer=StringValue.FromString),
    )
    error = await failure(call(raw, kind, "anything"))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_MALFORMED)
    assert error.metadata == {"rpc": f"{SERVICE}/{kind}"}


async def test_an_answer_that_cannot_be_sent_is_a_fault_like_any_other(
    running: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.kit.handler.MESSAGE_LIMIT_BYTES", 10_000)
    assert (await failure(call(running.stub, "Unary", "wrong"))).reason == Reason.INTERNAL
    assert "failed" in caplog.text
    huge = await failure(call(running.stub, "Unary", "huge"))
    assert (huge.code, huge.reason) == ("RESOURCE_EXHAUSTED", Reason.MESSAGE_TOO_LARGE)


async def test_a_handler_that_writes_is_answered_like_one_that_yields(running: House):
    assert await outcome(call(running.stub, "Written", "one two")) == ["one", "two"]
    stream = call(running.stub, "Written", "one missing")
    assert (await stream.read()).value == "one"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert from_rpc_error(caught.value).reason == Reason.MODEL_NOT_FOUND


async def test_a_handlers_own_timeout_is_a_fault_and_not_the_callers_deadline(running: House):
    assert (await failure(call(running.stub, "Unary", "late"))).reason == Reason.INTERNAL


async def test_an_rpc_that_nobody_serves_says_so(running: House):
    error = await failure(running.channel.unary_unary("/nobody.v1.NobodyService/Ask")(b""))
    assert (error.code, error.reason) == ("UNIMPLEMENTED", Reason.RPC_NOT_SERVED)
    assert error.metadata == {"rpc": "/nobody.v1.NobodyService/Ask"}


async def test_a_failed_call_that_a_handler_lets_through_keeps_its_reason(running: House):
    async with house(running.stub) as front:
        error = await failure(call(front.stub, "Unary", "pass on"))
    assert (error.code, error.reason) == ("NOT_FOUND", Reason.MODEL_NOT_FOUND)


async def test_an_error_in_a_task_group_is_answered_as_itself(
    running: House, caplog: pytest.LogCaptureFixture
):
    assert (await failure(call(running.stub, "Unary", "group"))).reason == Reason.MODEL_NOT_FOUND
    assert caplog.records == []
    assert (await failure(call(running.stub, "Unary", "mixed group"))).reason == Reason.INTERNAL
    assert "a secret" in caplog.text


async def test_trailing_metadata_of_the_handler_survives_an_error(running: House):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(running.stub, "Unary", "trailer")
    assert dict(caught.value.trailing_metadata() or ())["x-kept"] == "yes"


async def test_a_refused_connection_is_unavailable_and_names_no_address():
    port = free_ports(1)[0]
    async with Channels(Telemetry.disabled()) as channels:
        error = await failure(call(Stub(channels.to(f"127.0.0.1:{port}")), "Unary", "echo"))
    assert (error.code, error.reason) == ("UNAVAILABLE", Reason.SERVICE_UNAVAILABLE)
    assert str(port) not in error.message
