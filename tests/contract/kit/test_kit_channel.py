from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from trunkline.control.v1 import control_pb2, control_pb2_grpc
from trunkline.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from trunkline.worker.v1 import worker_pb2, worker_pb2_grpc

from services.kit.channel import Channels
from services.kit.errors import Reason, Unavailable
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import House, call, house


class Flaky(tokenizer_pb2_grpc.TokenizerServiceServicer, worker_pb2_grpc.WorkerServiceServicer):
    """Refuses the first call of each rpc."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def CountTokens(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._count("CountTokens")
        return tokenizer_pb2.CountTokensResponse()

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self._count("Generate")
        yield worker_pb2.GenerateResponse()

    def _count(self, name: str) -> None:
        self.calls[name] += 1
        if self.calls[name] == 1:
            raise Unavailable(Reason.DRAINING, "not yet")


async def test_only_what_is_safe_to_repeat_is_retried():
    flaky = Flaky()
    async with (
        Server("127.0.0.1:0", Telemetry.disabled()) as server,
        Channels(Telemetry.disabled()) as channels,
    ):
        server.add(
            "trunkline.tokenizer.v1.TokenizerService",
            tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server,
            flaky,
        )
        server.add(worker_pb2.DESCRIPTOR.services_by_name["WorkerService"], add_worker, flaky)
        channel = channels.to(f"127.0.0.1:{await server.start()}")
        await tokenizer_pb2_grpc.TokenizerServiceStub(channel).CountTokens(tokenizer_pb2.CountTokensRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker_pb2_grpc.WorkerServiceStub(channel).Generate(worker_pb2.GenerateRequest()).read()
    assert from_rpc_error(caught.value).reason == Reason.DRAINING
    assert flaky.calls == {"CountTokens": 2, "Generate": 1}


add_worker: Any = worker_pb2_grpc.add_WorkerServiceServicer_to_server


async def test_a_method_that_a_servicer_left_out_is_not_served():
    async with (
        Server("127.0.0.1:0", Telemetry.disabled()) as server,
        Channels(Telemetry.disabled()) as channels,
    ):
        add: Any = control_pb2_grpc.add_ControlServiceServicer_to_server
        server.add("trunkline.control.v1.ControlService", add, control_pb2_grpc.ControlServiceServicer())
        stub: Any = control_pb2_grpc.ControlServiceStub(channels.to(f"127.0.0.1:{await server.start()}"))
        for started in (
            stub.ListRoutes(control_pb2.ListRoutesRequest()),
            stub.WatchRoutes(control_pb2.WatchRoutesRequest()).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await started
            assert from_rpc_error(caught.value).reason == Reason.RPC_NOT_SERVED


async def test_calls_go_round_all_addresses_of_a_target(running: House):
    async with house() as other, Channels(Telemetry.disabled()) as channels:
        target = f"ipv4:127.0.0.1:{running.port},127.0.0.1:{other.port}"
        channel = channels.to(target)
        await channel.channel_ready()
        from tests.contract.kit.probe import Stub

        for _ in range(50):
            await call(Stub(channel), "Unary", "echo", wait_for_ready=True)
        spans = len(running.recorder.spans), len(other.recorder.spans)
    assert min(spans) > 10


async def test_messages_far_above_grpcs_own_limit_pass_both_ways(running: House):
    word = "x" * (16 * 1024 * 1024)
    assert (await call(running.stub, "Unary", word)).value == word


async def test_a_forgotten_address_is_dialled_anew(running: House):
    before = running.channel
    await running.channels.forget(f"127.0.0.1:{running.port}")
    assert running.channel is not before
    await running.channels.forget("127.0.0.1:1")
