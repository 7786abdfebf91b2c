"""Metrics in by OTLP, out as the picture and as Prometheus reads them."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from services.kit import semconv
from services.kit.server import Server
from services.kit.telemetry import Telemetry, TelemetrySettings
from tests.contract.monitor.house import House, house, reporter

RPC = "trunkline.inference.v1.InferenceService/Generate"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def called(status: str = "OK", rpc: str = RPC) -> dict[str, str]:
    return {semconv.RPC_METHOD: rpc, semconv.RPC_RESPONSE_STATUS_CODE: status}


async def samples(monitor: House, accept: str = "text/plain") -> list[Sample]:
    status, content_type, body = await monitor.get("/metrics", Accept=accept)
    assert status == 200
    parse = parse_openmetrics if content_type.startswith("application/openmetrics-text") else parse_text
    return [sample for family in parse(body) for sample in family.samples]


async def test_calls_of_one_rpc_are_one_row_over_all_processes(monitor: House):
    for instance in ("a:1", "a:2"):
        async with reporter(monitor.address, "front", instance) as process:
            calls = process.meter.create_histogram(
                semconv.RPC_SERVER_CALL_DURATION,
                unit="s",
                explicit_bucket_boundaries_advisory=[0.1, 0.2, 0.4],
            )
            for _ in range(9):
                calls.record(0.15, called())
            calls.record(0.39, called("INTERNAL"))
            calls.record(0.15, called("CANCELLED"))
            await process.flush()
    monitor.clock.advance(1)
    [row] = (await monitor.mesh()).rpcs
    assert (row.service, row.rpc, row.calls, row.errors) == ("front", RPC, 22, 2)
    assert row.calls_per_second == 22
    assert row.latency_p50.ToNanoseconds() == pytest.approx(0.155e9, rel=1e-6)
    assert 0.3e9 < row.latency_p99.ToNanoseconds() <= 0.39e9


async def test_rates_fall_to_zero_and_totals_stay(monitor: House):
    async with reporter(monitor.address, "front") as process:
        process.meter.create_histogram(semconv.RPC_SERVER_CALL_DURATION, unit="s").record(0.1, called())
        await process.flush()
        monitor.clock.advance(1)
        assert (await monitor.mesh()).rpcs[0].calls_per_second == 1
        monitor.clock.advance(90)
        [row] = (await monitor.mesh()).rpcs
        assert (row.calls, row.calls_per_second) == (1, 0)
        assert not row.HasField("latency_p50")


async def test_what_a_model_does_is_a_row(monitor: House):
    async with reporter(monitor.address, "inference_worker") as process:
        model = {semconv.GEN_AI_REQUEST_MODEL: "small", semconv.MODEL_VERSION: "1"}
        process.meter.create_histogram(semconv.GEN_AI_SERVER_REQUEST_DURATION, unit="s").record(1.0, model)
        process.meter.create_histogram(semconv.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN, unit="s").record(
            0.05, model
        )
        process.meter.create_counter(semconv.MODEL_PROMPT_TOKENS).add(200, model)
        process.meter.create_counter(semconv.MODEL_GENERATED_TOKENS).add(30, model)
        await process.flush()
    monitor.clock.advance(1)
    [row] = (await monitor.mesh()).models
    assert (row.model, row.version, row.requests) == ("small", "1", 1)
    assert (row.requests_per_second, row.prompt_tokens_per_second, row.generated_tokens_per_second) == (
        1,
        200,
        30,
    )
    assert 0 < row.time_to_first_token_p99.ToNanoseconds() <= 0.05e9


async def test_a_process_of_the_kit_reports_its_cpu_and_memory(monitor: House):
    settings = TelemetrySettings(monitor=monitor.address, metrics_interval_s=0.05, instance="box:7")
    telemetry = Telemetry.start("tokenizer", settings)
    try:
        mesh = await monitor.mesh_when(
            lambda mesh: bool(mesh.services) and mesh.services[-1].memory_bytes > 0
        )
    finally:
        await asyncio.to_thread(telemetry.close)
    process = mesh.services[-1]
    assert (process.service, process.instance) == ("tokenizer", "box:7")
    assert process.memory_bytes > 10 * 2**20
    monitor.clock.advance(1)
    process = (await monitor.mesh()).services[-1]
    assert process.cpu_cores > 0
    assert process.HasField("reported_at")


async def test_a_process_that_falls_silent_drops_out_and_its_calls_stay(monitor: House):
    async with reporter(monitor.address, "front") as process:
        process.meter.create_histogram(semconv.RPC_SERVER_CALL_DURATION, unit="s").record(0.1, called())
        await process.flush()
    assert [each.service for each in (await monitor.mesh()).services] == ["front", "monitor"]
    monitor.clock.advance(16)
    mesh = await monitor.mesh()
    assert [each.service for each in mesh.services] == ["monitor"]
    assert [row.calls for row in mesh.rpcs] == [1]
    assert not [each for each in await samples(monitor) if each.labels.get("service") == "front"]


@pytest.mark.parametrize("delta", [True, False])
async def test_both_temporalities_count_the_same(monitor: House, delta: bool):
    async with reporter(monitor.address, "front", delta=delta) as process:
        calls = process.meter.create_histogram(semconv.RPC_SERVER_CALL_DURATION, unit="s")
        for _ in range(3):
            calls.record(0.1, called())
            await process.flush()
    assert [row.calls for row in (await monitor.mesh()).rpcs] == [3]


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
async def test_prometheus_reads_every_kind(monitor: House, accept: str):
    async with reporter(monitor.address, "front") as process:
        process.meter.create_counter("cache.hits", unit="{hit}").add(5, {"model": 'odd "name"\n\\'})
        process.meter.create_gauge("queue.length").set(7)
        process.meter.create_histogram(
            "delay", unit="ms", explicit_bucket_boundaries_advisory=[1.0, 10.0]
        ).record(5.0)
        await process.flush()
    found = {(each.name, each.labels.get("le")): each for each in await samples(monitor, accept)}
    hits = found["cache_hits_total", None]
    assert hits.value == 5
    assert hits.labels == {"model": 'odd "name"\n\\', "service": "front", "instance": "a:1"}
    assert found["queue_length", None].value == 7
    buckets = [found["delay_milliseconds_bucket", bound].value for bound in ("1.0", "10.0", "+Inf")]
    assert buckets == [0, 1, 1]
    assert found["delay_milliseconds_sum", None].value == 5
    assert found["delay_milliseconds_count", None].value == 1


async def test_names_that_prometheus_cannot_tell_apart_stay_apart(monitor: House):
    meters = [("work", "s"), ("work", "ms"), ("tokens", "{read}"), ("tokens", "{made}")]
    for number, (name, unit) in enumerate(meters):
        async with reporter(monitor.address, "front", f"a:{number % 2}") as process:
            process.meter.create_counter(name, unit=unit).add(number + 1)
            await process.flush()
    async with reporter(monitor.address, "front", "a:9") as process:
        process.meter.create_gauge("tokens_total").set(9)
        process.meter.create_counter("odd").add(1, {"a.b": "1", "service": "mine"})
        process.meter.create_counter("odd").add(2, {"a_b": "1", "service": "mine"})
        await process.flush()
    found = await samples(monitor)
    values = {each.name: each.value for each in found if each.labels.get("service") == "front"}
    assert (values["work_seconds_total"], values["work_milliseconds_total"]) == (1, 2)
    assert {name for name in values if name.startswith("tokens")} == {
        "tokens_total",
        "tokens_read_total",
        "tokens_total_gauge",
    }
    identities = [(each.name, tuple(sorted(each.labels.items()))) for each in found]
    assert len(identities) == len(set(identities))
    [odd] = [each for each in found if each.name == "odd_total"]
    assert odd.labels == {"a_b": "1", "exported_service": "mine", "service": "front", "instance": "a:9"}
    dropped = {
        each.labels["reason"] for each in await samples(monitor) if each.name.endswith("dropped_total")
    }
    assert dropped == {"name_collision"}


async def test_past_the_series_limit_the_rest_is_refused_and_counted():
    async with house(monitor_series=10) as monitor, reporter(monitor.address, "front") as process:
        counter = process.meter.create_counter("many")
        for number in range(50):
            counter.add(1, {"k": number})
        await process.flush()
        found = await samples(monitor)
        assert len([each for each in found if each.name == "many_total"]) == 10
        [dropped] = [each for each in found if each.name == "trunkline_monitor_dropped_total"]
        assert (dropped.labels["reason"], dropped.value) == ("series_limit", 40)


async def test_a_partial_success_says_what_was_refused(monitor: House):
    bad = otlp.Metric(name="bad", sum=otlp.Sum(is_monotonic=True, data_points=[otlp.NumberDataPoint()] * 3))
    request = ExportMetricsServiceRequest(
        resource_metrics=[otlp.ResourceMetrics(scope_metrics=[otlp.ScopeMetrics(metrics=[bad])])]
    )
    answer = await export(monitor, request.SerializeToString())
    assert answer.partial_success.rejected_data_points == 3
    assert not (await export(monitor, b"")).HasField("partial_success")


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x7f", bytes(9 * 2**20)]
)
async def test_bytes_that_are_no_message_or_too_many_are_refused_and_the_monitor_lives(
    monitor: House, data: bytes
):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await export(monitor, data)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await monitor.mesh()).services


async def test_a_request_of_megabytes_is_taken_in_part_and_the_monitor_lives():
    async with house(monitor_series=100) as monitor:
        points = [otlp.NumberDataPoint(as_int=number) for number in range(100_000)]
        for number, point in enumerate(points):
            point.attributes.add(key="k").value.int_value = number
        metric = otlp.Metric(name="big", gauge=otlp.Gauge(data_points=points))
        request = ExportMetricsServiceRequest(
            resource_metrics=[otlp.ResourceMetrics(scope_metrics=[otlp.ScopeMetrics(metrics=[metric])])]
        )
        answer = await export(monitor, request.SerializeToString())
        assert answer.partial_success.rejected_data_points == 99_900
        assert (await monitor.mesh()).services


async def test_the_monitors_own_telemetry_goes_into_itself_and_makes_no_more_of_itself():
    async with house() as monitor:
        settings = TelemetrySettings(
            monitor=monitor.address,
            metrics_interval_s=0.05,
            spans_interval_s=0.02,
            trace_ratio=1.0,
            instance="box:m",
        )
        telemetry = Telemetry.start("monitor", settings)
        server = Server("127.0.0.1:0", telemetry)
        monitor.monitor.register(server)
        async with server:
            port = await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await export_to(channel, b"")
                await channel.unary_unary("/trunkline.monitor.v1.MonitorService/GetMesh")(b"")
            mesh = await monitor.mesh_when(lambda mesh: bool(mesh.rpcs))
            await asyncio.to_thread(telemetry.close)
        assert [row.rpc for row in mesh.rpcs] == ["trunkline.monitor.v1.MonitorService/GetMesh"]
        _, _, body = await monitor.get("/api/v3/operations?service=monitor")
        assert "Export" not in body
        assert "GetMesh" in body


async def export(monitor: House, data: bytes) -> ExportMetricsServiceResponse:
    return await export_to(monitor.channel, data)


async def export_to(channel: grpc.aio.Channel, data: bytes) -> ExportMetricsServiceResponse:
    call = channel.unary_unary(
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        response_deserializer=ExportMetricsServiceResponse.FromString,
    )
    return await call(data)
