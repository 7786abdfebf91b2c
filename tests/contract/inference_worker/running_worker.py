"""A real worker in this process: a real server on a port of its own, a real engine, tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trunkline.inference.v1.sampling_pb2 import SamplingParams
from trunkline.worker.v1.worker_pb2 import (
    MODEL_STATE_READY,
    GenerateRequest,
    GenerateResponse,
    ModelStatus,
    WatchStatusRequest,
    WatchStatusResponse,
)
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub, add_WorkerServiceServicer_to_server

from services.inference_worker.__main__ import SERVICE
from services.inference_worker.devices import DeviceInventory, HostInventory
from services.inference_worker.service import WorkerService
from services.inference_worker.settings import WorkerSettings
from services.inference_worker.worker import Worker
from services.kit.errors import TrunklineError
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry, resource
from services.store.settings import DEFAULT_MODELS, StoreSettings
from tests.unit.inference_worker.tiny_models import bert, llama, save

GENERATOR = "tiny-llama"
ENCODER = "tiny-bert"
RUNNING, QUEUED = 8, 24


@dataclass
class RunningWorker:
    """What a test talks to, and what it may look into."""

    address: str
    channel: grpc.aio.Channel
    server: Server
    folder: Path
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    metrics: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    @property
    def stub(self) -> Any:
        return WorkerServiceStub(self.channel)

    async def until(
        self, condition: Callable[[WatchStatusResponse], bool], within: float = 60
    ) -> WatchStatusResponse:
        """Return the first state that fulfils `condition`; raises TimeoutError."""
        watch = self.stub.WatchStatus(WatchStatusRequest())
        async with asyncio.timeout(within):
            async for state in watch:
                if condition(state):
                    watch.cancel()
                    return state  # type: ignore[no-any-return]
        raise AssertionError("the worker ended its stream of states")

    async def until_ready(self, *models: str, within: float = 60) -> WatchStatusResponse:
        """Return when these models are ready."""
        return await self.until(
            lambda state: all(status(state, name).state == MODEL_STATE_READY for name in models), within
        )

    async def until_idle(self) -> ModelStatus:
        """Return when the generator works on nothing; nothing may be held then."""
        state = await self.until(lambda state: idle(status(state, GENERATOR)), within=60)
        return status(state, GENERATOR)


def status(state: WatchStatusResponse, model: str) -> ModelStatus:
    """Return what a state says of a model; an empty message where it is not there."""
    return next((each for each in state.models if each.model == model), ModelStatus())


def idle(model: ModelStatus) -> bool:
    load = model.load
    return (
        model.state == MODEL_STATE_READY
        and load.queued == load.running == load.outstanding_tokens == 0
        and load.free_cache_tokens == load.cache_tokens > 0
    )


def request(token_ids: list[int], max_tokens: int = 16, **sampling: Any) -> GenerateRequest:
    """Return a greedy request unless `sampling` says otherwise."""
    asked = {"top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": max_tokens} | sampling
    return GenerateRequest(model=GENERATOR, token_ids=token_ids, sampling=SamplingParams(**asked))


async def generate(
    worker: RunningWorker, asked: GenerateRequest
) -> tuple[list[int], GenerateResponse.Finish]:
    """Return the tokens and the finish, which must be one and the last."""
    events = [event async for event in worker.stub.Generate(asked)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds.count("finish") == 1
    assert kinds[-1] == "finish"
    return [token for event in events for token in event.delta.token_ids], events[-1].finish


async def failure(call: Any) -> TrunklineError:
    """Return the error with which a call ends, unary or stream."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("the call succeeded")


@asynccontextmanager
async def running_worker(
    folder: Path,
    *,
    models: tuple[str, ...] = DEFAULT_MODELS,
    inventory: DeviceInventory | None = None,
    **settings: Any,
) -> AsyncIterator[RunningWorker]:
    """Start a worker whose catalogue has the tiny models, and stop it at the end."""
    asked = WorkerSettings(
        listen="127.0.0.1:0",
        store=StoreSettings(models, catalogue(folder), folder / "cache"),
        max_sequences=RUNNING,
        max_queue=QUEUED,
        engine_threads=1,
        **settings,
    )
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    telemetry = Telemetry.of(
        resource("inference_worker"), processor=SimpleSpanProcessor(spans), reader=metrics
    )
    server = Server(asked.listen, telemetry, grace=1.0)
    said = lambda serving: server.set_serving(SERVICE, serving)  # noqa: E731
    with telemetry:
        async with Worker(asked, telemetry, inventory or HostInventory(), server.draining, said) as worker:
            service = WorkerService(
                worker.inference, worker.models, worker.status, telemetry, server.draining
            )
            server.add(SERVICE, add_WorkerServiceServicer_to_server, service, serving=False)
            async with server:
                address = f"127.0.0.1:{await server.start()}"
                async with grpc.aio.insecure_channel(address) as channel:
                    yield RunningWorker(address, channel, server, folder, spans, metrics)


def catalogue(folder: Path) -> Path:
    """Write a catalogue of tiny models, some of which cannot be served, and the models; return its path."""
    path = folder / "catalogue.toml"
    if path.exists():
        return path
    llama(folder / "llama")
    bert(folder / "bert")
    _bloom(folder / "bloom")
    pickled = llama(folder / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    garbage = llama(folder / "garbage")
    (garbage / "model.safetensors").rename(garbage / "model.gguf")
    entries = [
        _entry(GENERATOR, "1", "generate", folder / "llama", sampling="temperature = 0.5"),
        _entry(ENCODER, "1", "embed", folder / "bert"),
        _entry("spare", "1", "generate", folder / "llama"),
        _entry("spare", "2", "generate", folder / "llama"),
        _entry("bloom", "1", "generate", folder / "bloom"),
        _entry("pickled", "1", "generate", pickled),
        _entry("garbage", "1", "generate", garbage, weights="gguf"),
        _entry("absent", "1", "generate", folder / "nowhere"),
    ]
    path.write_text("\n".join(entries))
    return path


def _entry(
    name: str, version: str, task: str, source: Path, *, sampling: str = "", weights: str = "safetensors"
) -> str:
    return f"""
[[model]]
name = "{name}"
version = "{version}"
task = "{task}"
source = "file://{source}"
weights = "{weights}"
dtype = "float32"
{f"[model.sampling]{chr(10)}{sampling}" if sampling else ""}
"""


def _bloom(folder: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    save(BloomForCausalLM, BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2), folder)
