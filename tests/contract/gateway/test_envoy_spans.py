"""Envoy's spans: they join the caller's trace and the service's, and leave out what is plumbing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from trunkline.inference.v1.inference_pb2 import EmbedRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from services.kit.server import Server
from services.kit.telemetry import Telemetry, TelemetrySettings
from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import eventually, gateway_settings, running_gateway

INFERENCE = "trunkline.inference.v1.InferenceService"


class Collector(TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.received = asyncio.Event()

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(attributes["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.received.set()
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector()
    async with Server("127.0.0.1:0", Telemetry.disabled()) as server:
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add(name, add_TraceServiceServicer_to_server, collector)
        yield collector, f"127.0.0.1:{await server.start()}"


async def test_a_call_has_a_span_at_the_port_and_one_a_try_in_the_callers_trace(
    tmp_path: Path, pair: list[FakeWorker], collector: tuple[Collector, str]
) -> None:
    received, address = collector
    telemetry = TelemetrySettings(monitor="", traces_endpoint=f"http://{address}", trace_ratio=1.0)
    settings = gateway_settings(tmp_path, [pair[0].address], telemetry=telemetry)
    async with running_gateway(settings) as gateway:
        await eventually(lambda: gateway.serves(INFERENCE), within=60)
        trace, span = secrets.token_bytes(16), secrets.token_bytes(8)
        metadata = (("traceparent", f"00-{trace.hex()}-{span.hex()}-01"),)
        await HealthStub(gateway.public).Check(HealthCheckRequest(), metadata=metadata)
        await InferenceServiceStub(gateway.public).Embed(EmbedRequest(texts=["a"]), metadata=metadata)
        async with asyncio.timeout(60):
            while len([each for each in received.spans if each.trace_id == trace]) < 2:
                received.received.clear()
                await received.received.wait()
    spans = {each.kind: each for each in received.spans if each.trace_id == trace}
    assert len([each for each in received.spans if each.trace_id == trace]) == 2
    ingress, egress = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert ingress.parent_span_id == span
    assert egress.parent_span_id == ingress.span_id
    assert received.services == {"envoy"}
