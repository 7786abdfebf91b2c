"""One call, one tree of spans, in the monitor's ring."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.monitor.v1.monitor_pb2 import GetTraceRequest, GetTraceResponse, Span
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

from services.kit.channel import Channels
from services.kit.telemetry import Telemetry, TelemetrySettings
from tests.e2e.harness import RunningMesh
from tests.eventually import eventually

INFERENCE = "trunkline.inference.v1.InferenceService"
WORKER = "trunkline.worker.v1.WorkerService"
TOKENIZER = "trunkline.tokenizer.v1.TokenizerService"


class Trace:
    """A trace of ours: its id travels in `traceparent`, as a client's own telemetry would send it."""

    def __init__(self, trace_id: str = "") -> None:
        self.trace_id = trace_id or secrets.token_hex(16)
        self.metadata = (("traceparent", f"00-{self.trace_id}-{secrets.token_hex(8)}-01"),)

    async def paths(self, channel: grpc.aio.Channel, wanted: set[str]) -> dict[str, Span]:
        """Return the spans by their path of `service:name:kind`s, once all `wanted` are there.

        Raises TimeoutError when they do not come: spans are sent once, and a late send is dropped.
        """
        found: dict[str, Span] = {}

        async def complete() -> bool:
            found.update(self._by_path(await _get_trace(channel, self.trace_id)))
            return wanted <= found.keys()

        await eventually(complete, within=15)
        return found

    def _by_path(self, trace: GetTraceResponse) -> dict[str, Span]:
        spans = {span.span_id: span for span in trace.spans}

        def path(span: Span) -> str:
            parent = spans.get(span.parent_span_id)
            own = f"{span.service}:{span.name}:{span.kind}"
            return f"{path(parent)} > {own}" if parent else own

        return {path(span): span for span in trace.spans}


async def _get_trace(channel: grpc.aio.Channel, trace_id: str) -> GetTraceResponse:
    try:
        return await MonitorServiceStub(channel).GetTrace(GetTraceRequest(trace_id=trace_id))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return GetTraceResponse()


async def patiently(once: Callable[[], Awaitable[None]]) -> None:
    """Do `once` until its spans have come, a few times at most."""
    async with asyncio.timeout(100):
        while True:
            with suppress(TimeoutError):
                return await once()


ENVOY = "envoy:ingress:server > envoy:router front egress:client"
FRONT_GENERATE = f"{ENVOY} > front:{INFERENCE}/Generate:server"
BATCH = "inference_worker:batch.execute:internal"
FRONT_EMBED = f"{ENVOY} > front:{INFERENCE}/Embed:server"


def below(parent: str, *spans: str) -> set[str]:
    """Return the paths of spans that are children of `parent`."""
    return {f"{parent} > {span}" for span in spans}


async def test_one_tree_shows_a_generate_from_the_client_to_the_engine(
    mesh: RunningMesh, operator_channel: grpc.aio.Channel
) -> None:
    await patiently(lambda: _shows_a_generate(mesh, operator_channel))


async def _shows_a_generate(mesh: RunningMesh, operator_channel: grpc.aio.Channel) -> None:
    with Telemetry.start("client", TelemetrySettings(monitor=mesh.monitor, trace_ratio=1.0)) as telemetry:
        async with Channels(telemetry) as channels:
            request = GenerateRequest(model="smollm2-135m-instruct", prompt="The sea is", max_tokens=3)
            with telemetry.tracer.start_as_current_span("ask") as ask:
                stub = InferenceServiceStub(channels.to(mesh.public))
                assert [event async for event in stub.Generate(request)]
    trace = Trace(format(ask.get_span_context().trace_id, "032x"))
    front = f"client:ask:internal > client:{INFERENCE}/Generate:client > {FRONT_GENERATE}"
    encode = f"{front} > front:{TOKENIZER}/Encode:client"
    worker = f"{front} > front:{WORKER}/Generate:client > inference_worker:{WORKER}/Generate:server"
    stages = (f"inference_worker:engine.{stage}:internal" for stage in ("queue", "prefill", "decode"))
    wanted = {front, *below(encode, f"tokenizer:{TOKENIZER}/Encode:server"), *below(worker, *stages)}
    spans = await trace.paths(operator_channel, wanted)
    assert not [span.error for span in spans.values() if span.error]


async def test_an_embed_in_a_batch_links_to_the_batch_and_the_batch_to_it(
    channel: grpc.aio.Channel, operator_channel: grpc.aio.Channel
) -> None:
    await patiently(lambda: _links(channel, operator_channel))


async def _links(channel: grpc.aio.Channel, operator_channel: grpc.aio.Channel) -> None:
    trace, other = Trace(), Trace()
    stub = InferenceServiceStub(channel)
    await asyncio.gather(
        *(
            stub.Embed(EmbedRequest(model="all-minilm-l6-v2", texts=["a cat"]), metadata=each.metadata)
            for each in (trace, other)
        )
    )
    worker = f"{FRONT_EMBED} > front:{WORKER}/Embed:client > inference_worker:{WORKER}/Embed:server"
    wait = f"{worker} > inference_worker:batch.wait:internal"
    own = (await trace.paths(operator_channel, {wait}))[wait]
    batch = Trace(own.links[0].trace_id)
    execute = (await batch.paths(operator_channel, {BATCH}))[BATCH]
    assert execute.span_id == own.links[0].span_id
    assert trace.trace_id in {link.trace_id for link in execute.links}
