"""A front between doubles, and how tests call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.control.v1.control_pb2 import RouteTable
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1 import sampling_pb2
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from gateway.front.front import SERVICE, Front
from gateway.front.settings import FrontSettings
from services.kit.channel import Channels
from services.kit.errors import TrunklineError
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from tests.contract.front.controller_double import ControllerDouble, model, routes, version
from tests.contract.front.hosts import Hosts, hosts
from tests.contract.front.tokenizer_double import DIGEST, TokenizerDouble
from tests.contract.front.worker_double import WorkerDouble

if TYPE_CHECKING:
    from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceAsyncStub

SETTINGS = FrontSettings(
    listen="127.0.0.1:0", controller="127.0.0.1:1", tokenizer="127.0.0.1:1", worker_silence=1e9
)


@dataclass
class Answer:
    """A stream that was read to its end."""

    deltas: list[pb.GenerateResponse.Delta]
    finish: pb.GenerateResponse.Finish

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def ids(self) -> list[int]:
        return [each for delta in self.deltas for each in delta.token_ids]


@dataclass
class Mesh:
    """A front, what it stands between, and how to call it."""

    hosts: Hosts
    tokenizer: TokenizerDouble
    workers: list[WorkerDouble]
    controller: ControllerDouble
    front: Front
    address: str
    channel: grpc.aio.Channel

    @property
    def stub(self) -> InferenceServiceAsyncStub:
        return InferenceServiceStub(self.channel)

    @property
    def worker(self) -> WorkerDouble:
        """The only worker."""
        [worker] = self.workers
        return worker

    async def generate(self, prompt: str = "capital?", **fields: Any) -> Answer:
        """Return the whole answer to a prompt, or to what `fields` say instead."""
        source = {} if {"chat", "token_ids"} & fields.keys() else {"prompt": prompt}
        request = pb.GenerateRequest(model=fields.pop("model", "writer"), **source, **fields)
        events = [event async for event in self.stub.Generate(request, timeout=60)]
        assert [event.WhichOneof("event") for event in events[:-1]] == ["delta"] * (len(events) - 1)
        assert events[-1].HasField("finish")
        return Answer([event.delta for event in events[:-1]], events[-1].finish)

    async def embed(self, *texts: str, **fields: Any) -> pb.EmbedResponse:
        return await self.stub.Embed(
            pb.EmbedRequest(model=fields.pop("model", "embedder"), texts=texts, **fields), timeout=60
        )

    async def serving(self) -> None:
        """Return when the front's health says SERVING."""
        watch = HealthStub(self.channel).Watch(HealthCheckRequest(service=SERVICE.full_name), timeout=60)
        async for answer in watch:
            if answer.status == HealthCheckResponse.SERVING:
                watch.cancel()
                return


async def refusal(call: Any) -> TrunklineError:
    """Return the error that awaiting `call` ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)


def table(*workers: WorkerDouble, digest: str = DIGEST) -> RouteTable:
    """Return routes for both default models on these workers."""
    return routes(
        model("embedder", version("1", 100, *workers, digest=digest), task=sampling_pb2.TASK_EMBED),
        model("writer", version("1", 100, *workers, digest=digest)),
    )


@asynccontextmanager
async def running_mesh(
    *workers: WorkerDouble,
    settings: FrontSettings = SETTINGS,
    digest: str = DIGEST,
    tokenizer_at: str = "",
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Mesh]:
    """Yield a front with routes to `workers`; `tokenizer_at` is another tokenizer than the double."""
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(hosts())
        tokenizer, controller = TokenizerDouble(), ControllerDouble()
        for worker in workers:
            worker.address = await started.start(worker)
        settings = replace(
            settings,
            tokenizer=tokenizer_at or await started.start(tokenizer),
            controller=await started.start(controller),
        )
        telemetry = telemetry or Telemetry.disabled()
        channels = await stack.enter_async_context(Channels(telemetry))
        watches = await stack.enter_async_context(Channels(Telemetry.disabled()))
        front = await stack.enter_async_context(Front(settings, telemetry, channels, watches))
        server = await stack.enter_async_context(Server(settings.listen, telemetry, grace=0))
        front.register(server)
        address = f"127.0.0.1:{await server.start()}"
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        mesh = Mesh(started, tokenizer, list(workers), controller, front, address, channel)
        await controller.route(table(*workers, digest=digest))
        await mesh.serving()
        yield mesh
