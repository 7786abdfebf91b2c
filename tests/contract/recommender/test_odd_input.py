"""Whatever comes in, by any rpc: an answer or a clear refusal, and the process lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.recommender.v1.status_pb2 import GetStatusRequest

from services.recommender.commands.own import own_recommender
from services.recommender.service.service import SERVICE
from tests.contract.recommender.odd_messages import messages

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
SLOW = ("Train", "Evaluate")
"""Each one that is right costs a process."""
RPCS = [method for method in SERVICE.methods if method.name not in SLOW]
seeded = settings(max_examples=6, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(seeded, max_examples=150, derandomize=False)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with own_recommender() as channel:
        yield channel
        status = call(channel, SERVICE.methods_by_name["GetStatus"], [GetStatusRequest()])
        assert status is None, "the process does not answer any more"


def call(channel: grpc.Channel, method: MethodDescriptor, sent: list[Any]) -> grpc.StatusCode | None:
    """Send messages to an rpc and read its first answers; return the refusal's code, None for none."""
    make = getattr(
        channel,
        ("stream" if method.client_streaming else "unary")
        + "_"
        + ("stream" if method.server_streaming else "unary"),
    )
    rpc = make(
        f"/{SERVICE.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        answer = rpc(iter(sent) if method.client_streaming else sent[0], timeout=100)
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return error.code()
    return None


def check(channel: grpc.Channel, method: MethodDescriptor, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3)) if method.client_streaming else 1
    sent = [data.draw(messages(method.input_type)) for _ in range(count)]
    code = call(channel, method, sent)
    assert code is None or code in REFUSALS, (method.name, code, sent)


@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.name)
@seeded
@given(data=st.data())
def test_odd_requests_are_answered_or_refused(
    channel: grpc.Channel, method: MethodDescriptor, data: st.DataObject
):
    check(channel, method, data)


@pytest.mark.parametrize("name", SLOW)
@settings(seeded, max_examples=3)
@given(data=st.data())
def test_odd_requests_for_processes_are_answered_or_refused(
    channel: grpc.Channel, name: str, data: st.DataObject
):
    check(channel, SERVICE.methods_by_name[name], data)


@pytest.mark.soak
@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.name)
@thorough
@given(data=st.data())
def test_many_odd_requests_are_answered_or_refused(
    channel: grpc.Channel, method: MethodDescriptor, data: st.DataObject
):
    """37 rpcs, 150 requests each: above 5,000."""
    check(channel, method, data)


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x08"])
def test_bodies_that_are_no_message_are_refused(channel: grpc.Channel, body: bytes):
    for method in SERVICE.methods:
        if method.client_streaming or method.server_streaming:
            continue
        rpc = channel.unary_unary(f"/{SERVICE.full_name}/{method.name}")
        with pytest.raises(grpc.RpcError) as caught:
            rpc(body, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, method.name
