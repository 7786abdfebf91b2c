"""A monitor on free ports, and processes that report to it through the OpenTelemetry SDK's own exporters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from trunkline.monitor.v1 import monitor_pb2 as pb
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

from services.kit.channel import Channels
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from services.monitor.monitor import Monitor
from services.monitor.settings import MonitorSettings
from tests.unit.monitor.clock import ManualClock

LIMIT_S = 60.0


@dataclass
class House:
    """A running monitor. Its clock is moved by hand; watches and streams run in real time."""

    monitor: Monitor
    server: Server
    port: int
    clock: ManualClock
    channel: grpc.aio.Channel
    stub: MonitorServiceStub

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def mesh(self) -> pb.Mesh:
        return (await self.stub.GetMesh(pb.GetMeshRequest())).mesh

    async def mesh_when(self, holds: Callable[[pb.Mesh], bool]) -> pb.Mesh:
        """Watch until a picture of which `holds` is true."""
        request = pb.WatchMeshRequest()
        request.interval.FromMilliseconds(100)
        call = self.stub.WatchMesh(request)
        async with asyncio.timeout(LIMIT_S):
            async for response in call:
                if holds(response.mesh):
                    call.cancel()
                    return response.mesh
        raise AssertionError("the monitor ended the watch")

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Return status, content type and body of a page."""
        url = f"http://127.0.0.1:{self.monitor.http.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status, response.headers["Content-Type"], await response.text()


@asynccontextmanager
async def house(port: int = 0, **settings: Any) -> AsyncIterator[House]:
    """Run a monitor that watches nobody unless `settings` say so."""
    nobody = {"tokenizer": "", "recommender": "", "rl_policy": "", "controller": "", "workers": ()}
    chosen = {**nobody, "metrics_http": "127.0.0.1:0", **settings}
    clock = ManualClock()
    channels = Channels(Telemetry.disabled())
    async with channels, Monitor(MonitorSettings(**chosen), channels, clock=clock) as monitor:
        server = Server(f"127.0.0.1:{port}", Telemetry.disabled(), grace=0.5)
        monitor.register(server)
        async with server:
            bound = await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{bound}") as channel:
                yield House(monitor, server, bound, clock, channel, MonitorServiceStub(channel))


class Reporter:
    """A process that reports: a meter and a tracer whose exports wait for `flush`."""

    def __init__(
        self, endpoint: str, service: str, instance: str = "a:1", *, delta: bool = True, **more: Any
    ) -> None:
        self.resource = Resource({"service.name": service, "service.instance.id": instance, **more})
        self._spans = BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True))
        self._tracers = TracerProvider(resource=self.resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(self._spans)
        exporter = OTLPMetricExporter(
            endpoint, insecure=True, preferred_temporality=_DELTA if delta else _CUMULATIVE
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        self._meters = MeterProvider([reader], resource=self.resource, shutdown_on_exit=False)
        self.tracer = self._tracers.get_tracer("test")
        self.meter = self._meters.get_meter("test")

    async def flush(self) -> None:
        """Return when everything has been taken by the monitor."""
        assert await asyncio.to_thread(self._tracers.force_flush)
        assert await asyncio.to_thread(self._meters.force_flush)

    async def close(self) -> None:
        await asyncio.to_thread(self._tracers.shutdown)
        await asyncio.to_thread(self._meters.shutdown)


@asynccontextmanager
async def reporter(
    endpoint: str, service: str, instance: str = "a:1", **more: Any
) -> AsyncIterator[Reporter]:
    """Run a process that reports to `endpoint`."""
    made = Reporter(endpoint, service, instance, **more)
    try:
        yield made
    finally:
        await made.close()


_DELTA: Mapping[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
_CUMULATIVE: Mapping[type, AggregationTemporality] = dict.fromkeys(_DELTA, AggregationTemporality.CUMULATIVE)
