from __future__ import annotations

import asyncio

import grpc
import pytest

from services.kit import rpc
from services.kit.channel import Channels, deadline_left
from services.kit.errors import Reason
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import KINDS, SERVICE, House, Stub, call, house, outcome, overdue


@pytest.mark.parametrize("kind", KINDS)
async def test_a_passed_deadline_ends_the_handler(running: House, kind: str):
    error = from_rpc_error(await overdue(running, kind))
    assert (error.code, error.reason) == ("DEADLINE_EXCEEDED", Reason.DEADLINE_EXCEEDED)
    async with asyncio.timeout(60):
        await running.probe.left.wait()


async def test_what_remains_of_a_deadline_is_passed_on(running: House):
    async with house(running.stub) as front:
        (left,) = await outcome(call(front.stub, "Unary", "left upstream", timeout=20.0))
    assert 10.0 < float(left) <= 20.5  # gRPC rounds a timeout up, by 1 % at most on each hop


async def test_a_caller_of_the_kit_has_the_default_deadline_of_the_kind(running: House):
    (unary,) = await outcome(call(running.stub, "Unary", "left"))
    assert 15.0 < float(unary) <= 31.0  # gRPC rounds a timeout up, by 1 % at most
    (stream,) = await outcome(call(running.stub, "ServerStream", "left"))
    assert 570.0 < float(stream) <= 606.0
    (both,) = await outcome(call(running.stub, "Both", "left"))
    assert both == "None"


async def test_a_caller_without_a_deadline_gets_the_default_one(
    running: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(rpc._BY_NAME, "Unary", 0.1)
    async with house() as hasty, grpc.aio.insecure_channel(f"127.0.0.1:{hasty.port}") as plain:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(Stub(plain), "Unary", "hang")
    assert from_rpc_error(caught.value).reason == Reason.DEADLINE_EXCEEDED
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_watch_has_no_deadline(running: House):
    watch = call(running.stub, "WatchNothing", "")
    assert (await watch.read()).value == "None"
    watch.cancel()


async def test_outside_of_a_call_nothing_is_left_to_pass_on():
    assert deadline_left() is None
    async with Channels(Telemetry.disabled()) as channels:
        assert channels.to("127.0.0.1:1") is channels.to("127.0.0.1:1")


@pytest.mark.parametrize(
    ("name", "client_streaming", "server_streaming", "seconds"),
    [
        ("Embed", False, False, 30.0),
        ("Generate", False, True, 600.0),
        ("LoadModel", False, False, 3600.0),
        ("GetArtifact", False, True, 600.0),
        ("WatchStatus", False, True, None),
        ("Rollout", True, True, None),
        ("Session", True, True, None),
    ],
)
def test_each_kind_of_rpc_has_its_default(
    name: str, client_streaming: bool, server_streaming: bool, seconds: float | None
):
    one = rpc.Rpc(SERVICE, name, client_streaming, server_streaming)
    assert one.default_timeout_s == seconds
