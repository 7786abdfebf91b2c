from __future__ import annotations

import asyncio
import logging
import socket
from time import monotonic
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from services.kit import logs, otlp, semconv
from services.kit.server import Server
from services.kit.telemetry import Telemetry, TelemetrySettings
from tests.free_ports import free_ports

QUICK = {"trace_ratio": 1.0, "spans_interval_s": 0.02, "metrics_interval_s": 0.02}
PATIENCE_S = 20.0
"""What a close without a receiver never takes: 2 s here on an idle machine, 30 s with the SDK's exporters."""


class Sink:
    """Takes OTLP as the monitor does, and keeps it."""

    def __init__(self) -> None:
        self.spans: asyncio.Queue[Any] = asyncio.Queue()
        self.metrics: asyncio.Queue[Any] = asyncio.Queue()

    def add_to(self, server: Server) -> None:
        traces, metrics = Traces(self), Metrics(self)
        server.add("opentelemetry.proto.collector.trace.v1.TraceService", add_traces, traces)
        server.add("opentelemetry.proto.collector.metrics.v1.MetricsService", add_metrics, metrics)


add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server


class Traces:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._sink.spans.put_nowait((resource.resource, span))
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for scope in request.resource_metrics[0].scope_metrics:
            for metric in scope.metrics:
                self._sink.metrics.put_nowait(metric)
        return metrics_service_pb2.ExportMetricsServiceResponse()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent arrives, however slow the machine: once its second is over, a send is dropped."""
    monkeypatch.setattr(otlp, "SEND_TIMEOUT_S", 60.0)
    monkeypatch.setattr("services.kit.telemetry.CLOSE_LIMIT_S", 60.0)


async def next_metric(sink: Sink, name: str) -> Any:
    async with asyncio.timeout(60):
        while (metric := await sink.metrics.get()).name != name:
            pass
    return metric


@pytest.mark.usefixtures("patient")
async def test_spans_and_metrics_arrive_soon_and_say_whose_they_are():
    sink = Sink()
    async with Server("127.0.0.1:0", Telemetry.disabled()) as server:
        sink.add_to(server)
        port = await server.start()
        telemetry = Telemetry.start(
            "tokenizer", TelemetrySettings(monitor=f"127.0.0.1:{port}", instance="tokenizer/1", **QUICK)
        )
        with telemetry.tracer.start_as_current_span("work"):
            pass
        async with asyncio.timeout(60):
            resource, span = await sink.spans.get()
        attributes = {each.key: each.value.string_value for each in resource.attributes}
        assert span.name == "work"
        assert attributes[semconv.SERVICE_NAME] == "tokenizer"
        assert attributes[semconv.SERVICE_INSTANCE_ID] == "tokenizer/1"
        await asyncio.to_thread(telemetry.close)


@pytest.mark.usefixtures("patient")
async def test_metrics_are_deltas_with_buckets_from_a_millisecond_to_a_hundred_seconds():
    sink = Sink()
    async with Server("127.0.0.1:0", Telemetry.disabled()) as server:
        sink.add_to(server)
        port = await server.start()
        telemetry = Telemetry.start("worker", TelemetrySettings(monitor=f"127.0.0.1:{port}", **QUICK))
        waits = telemetry.meter.create_histogram("wait", unit="s")
        tokens = telemetry.meter.create_counter("tokens")
        for _ in range(2):
            waits.record(0.003)
            tokens.add(5)
            wait = (await next_metric(sink, "wait")).histogram
            assert wait.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
            assert wait.data_points[0].count == 1
            assert tuple(wait.data_points[0].explicit_bounds) == semconv.DURATION_BUCKETS_S
            assert wait.data_points[0].bucket_counts[2] == 1  # above 2 ms, at most 5 ms
            counted = (await next_metric(sink, "tokens")).sum
            assert counted.data_points[0].as_int == 5
        cpu = (await next_metric(sink, semconv.PROCESS_CPU_TIME)).sum
        assert cpu.is_monotonic
        assert (await next_metric(sink, semconv.PROCESS_MEMORY_USAGE)).sum.data_points[0].as_int > 1_000_000
        await asyncio.to_thread(telemetry.close)


@pytest.mark.usefixtures("patient")
async def test_traces_go_to_their_own_endpoint_where_one_is_set():
    sink, other = Sink(), Sink()
    async with (
        Server("127.0.0.1:0", Telemetry.disabled()) as monitor,
        Server("127.0.0.1:0", Telemetry.disabled()) as jaeger,
    ):
        sink.add_to(monitor)
        other.add_to(jaeger)
        settings = TelemetrySettings(
            monitor=f"127.0.0.1:{await monitor.start()}",
            traces_endpoint=f"http://127.0.0.1:{await jaeger.start()}",
            **QUICK,
        )
        telemetry = Telemetry.start("front", settings)
        telemetry.tracer.start_span("work").end()
        await asyncio.to_thread(telemetry.close)
        assert sink.spans.empty()
        assert other.spans.get_nowait()[1].name == "work"


def test_what_waits_is_sent_when_telemetry_is_closed_and_a_dead_receiver_costs_nothing(
    caplog: pytest.LogCaptureFixture,
):
    telemetry = Telemetry.start("front", TelemetrySettings(monitor=f"127.0.0.1:{free_ports(1)[0]}", **QUICK))
    for _ in range(3_000):
        telemetry.tracer.start_span("work").end()
    began = monotonic()
    telemetry.close()
    telemetry.close()
    assert monotonic() - began < PATIENCE_S
    assert caplog.records == []


def test_a_receiver_that_hangs_holds_neither_calls_nor_the_end():
    with socket.socket() as frozen:  # accepts connections, answers nothing
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        settings = TelemetrySettings(monitor=f"127.0.0.1:{frozen.getsockname()[1]}", trace_ratio=1.0)
        with Telemetry.start("front", settings) as t:
            t.tracer.start_span("work").end()
            began = monotonic()
    assert monotonic() - began < PATIENCE_S


def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otlp, "PAUSE_S", 0.0)
    monkeypatch.setattr(otlp, "OUTAGE_S", 0.0)
    outlet = otlp.Outlet(f"127.0.0.1:{free_ports(1)[0]}", otlp.TRACES)
    with caplog.at_level(logging.WARNING):
        assert not any(outlet.send(trace_service_pb2.ExportTraceServiceRequest()) for _ in range(5))
    outlet.close()
    assert [record.message for record in caplog.records] == [
        "telemetry is dropped: its receiver does not answer"
    ]
    assert not outlet.send(trace_service_pb2.ExportTraceServiceRequest())


def test_an_empty_address_sends_nothing_and_still_makes_trace_ids():
    with Telemetry.start("front", TelemetrySettings(monitor="")) as telemetry:
        assert telemetry.tracer.start_span("work").get_span_context().is_valid
        telemetry.meter.create_counter("tokens").add(1)


@pytest.fixture(autouse=True)
def logging_as_it_was():
    root = logging.getLogger()
    handlers, level, sdk = list(root.handlers), root.level, logging.getLogger("opentelemetry").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("opentelemetry").setLevel(sdk)
    assert logs
