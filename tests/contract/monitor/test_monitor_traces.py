"""Traces in by OTLP, out as the operators' rpcs and as Jaeger answers them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from trunkline.monitor.v1 import monitor_pb2 as pb

from tests.contract.monitor.house import House, Reporter, house, reporter

GENERATE = "trunkline.inference.v1.InferenceService/Generate"


async def one_trace(process: Reporter) -> tuple[str, str]:
    """Report a call with a failed child that is linked to another trace; return both traces' ids."""
    with process.tracer.start_as_current_span("batch.execute") as batch:
        pass
    link = Link(batch.get_span_context(), {"batch.slot": 3})
    with process.tracer.start_as_current_span(GENERATE, kind=SpanKind.SERVER) as root:
        root.set_attribute("gen_ai.request.model", "small")
        root.add_event("gen_ai.first_token")
        with process.tracer.start_as_current_span("batch.wait", links=[link]) as wait:
            wait.set_status(Status(StatusCode.ERROR, "too slow"))
    await process.flush()
    return f"{root.get_span_context().trace_id:032x}", f"{batch.get_span_context().trace_id:032x}"


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


async def test_a_trace_has_its_spans_with_links_attributes_and_errors(monitor: House):
    async with reporter(monitor.address, "front") as process:
        trace_id, batch_id = await one_trace(process)
    found = await monitor.stub.GetTrace(pb.GetTraceRequest(trace_id=trace_id))
    root, wait = found.spans
    assert (root.service, root.name, root.kind, root.parent_span_id) == ("front", GENERATE, "server", "")
    assert dict(root.attributes) == {"gen_ai.request.model": "small"}
    assert (wait.name, wait.parent_span_id, wait.error) == ("batch.wait", root.span_id, "too slow")
    assert [link.trace_id for link in wait.links] == [batch_id]
    assert root.duration.ToNanoseconds() >= wait.duration.ToNanoseconds() > 0


async def test_no_id_means_the_newest_inference(monitor: House):
    async with reporter(monitor.address, "front") as process:
        trace_id, _ = await one_trace(process)
        with process.tracer.start_as_current_span("trunkline.monitor.v1.MonitorService/GetMesh"):
            pass
        await process.flush()
    assert (await monitor.stub.GetTrace(pb.GetTraceRequest())).trace_id == trace_id


async def test_a_trace_that_is_not_here_is_not_found(monitor: House):
    for trace_id in ("", "ab" * 16):
        error = await refused(monitor.stub.GetTrace(pb.GetTraceRequest(trace_id=trace_id)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    error = await refused(monitor.stub.GetTrace(pb.GetTraceRequest(trace_id="no id")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_traces_are_listed_page_by_page_the_newest_first(monitor: House):
    async with reporter(monitor.address, "front") as process:
        for number in range(5):
            with process.tracer.start_as_current_span(f"span {number}"):
                pass
            await process.flush()
    names, token = [], ""
    while True:
        page = await monitor.stub.ListTraces(pb.ListTracesRequest(page_size=2, page_token=token))
        names += [trace.root for trace in page.traces]
        token = page.next_page_token
        if not token:
            break
    assert names == ["span 4", "span 3", "span 2", "span 1", "span 0"]
    error = await refused(monitor.stub.ListTraces(pb.ListTracesRequest(page_token="nonsense")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_ring_keeps_so_many_traces_and_so_many_bytes():
    async with house(monitor_traces=10) as monitor, reporter(monitor.address, "front") as process:
        for _ in range(50):
            with process.tracer.start_as_current_span("span"):
                pass
        await process.flush()
        listed = await monitor.stub.ListTraces(pb.ListTracesRequest(page_size=100))
        assert len(listed.traces) == 10
    async with house(monitor_trace_bytes=20_000) as monitor, reporter(monitor.address, "front") as process:
        for _ in range(50):
            with process.tracer.start_as_current_span("span", attributes={"k": "v" * 2_000}):
                pass
        await process.flush()
        listed = await monitor.stub.ListTraces(pb.ListTracesRequest(page_size=100))
        assert 5 <= len(listed.traces) <= 8


async def test_malformed_spans_are_refused_one_by_one(monitor: House):
    good = trace_pb2.Span(trace_id=b"t" * 16, span_id=b"s" * 8, name="good")
    scope = trace_pb2.ScopeSpans(spans=[good, trace_pb2.Span(name="no ids")])
    request = ExportTraceServiceRequest(resource_spans=[trace_pb2.ResourceSpans(scope_spans=[scope])])
    export = monitor.channel.unary_unary(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        response_deserializer=ExportTraceServiceResponse.FromString,
    )
    answer = await export(request.SerializeToString())
    assert answer.partial_success.rejected_spans == 1
    found = await monitor.stub.GetTrace(pb.GetTraceRequest(trace_id=(b"t" * 16).hex()))
    assert [(span.name, span.service) for span in found.spans] == [("good", "unknown_service")]


async def test_a_trace_has_jaegers_shape(monitor: House):
    async with reporter(monitor.address, "front") as process:
        trace_id, batch_id = await one_trace(process)
    status, content_type, body = await monitor.get(f"/api/v3/traces/{trace_id}")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    [group] = json.loads(body)["result"]["resourceSpans"]
    resource = {each["key"]: each["value"] for each in group["resource"]["attributes"]}
    assert resource["service.name"] == {"stringValue": "front"}
    [scope] = group["scopeSpans"]
    assert scope["scope"] == {"name": "test"}
    spans = {span["name"]: span for span in scope["spans"]}
    root, wait = spans[GENERATE], spans["batch.wait"]
    assert (root["traceId"], root["kind"], "parentSpanId" in root) == (trace_id, 2, False)
    assert (wait["parentSpanId"], wait["status"]) == (root["spanId"], {"code": 2, "message": "too slow"})
    assert int(root["endTimeUnixNano"]) >= int(root["startTimeUnixNano"]) > 0
    assert root["events"][0]["name"] == "gen_ai.first_token"
    [link] = wait["links"]
    assert (link["traceId"], link["attributes"]) == (
        batch_id,
        [{"key": "batch.slot", "value": {"intValue": "3"}}],
    )


async def test_services_and_operations_have_jaegers_shape(monitor: House):
    async with reporter(monitor.address, "front") as process:
        await one_trace(process)
    _, _, body = await monitor.get("/api/v3/services")
    assert json.loads(body) == {"services": ["front"]}
    _, _, body = await monitor.get("/api/v3/operations?service=front")
    assert {"name": GENERATE, "spanKind": "server"} in json.loads(body)["operations"]
    _, _, body = await monitor.get("/api/v3/operations?service=nobody")
    assert json.loads(body) == {"operations": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere", 404), ("/api/v3/traces/" + "ab" * 16, 404), ("/api/v3/traces/xyz", 400)],
)
async def test_what_is_not_there_is_refused_in_json(monitor: House, path: str, status: int):
    answered, content_type, body = await monitor.get(path)
    assert (answered, content_type) == (status, "application/json; charset=utf-8")
    assert json.loads(body)["error"]["httpCode"] == status


async def test_health_is_answered_over_http(monitor: House):
    status, _, body = await monitor.get("/healthz")
    assert (status, json.loads(body)) == (200, {"status": "SERVING"})


async def test_an_http_address_that_is_taken_is_refused_in_a_sentence(monitor: House):
    taken = f"127.0.0.1:{monitor.monitor.http.port}"
    with pytest.raises(SystemExit, match="TRUNKLINE_METRICS_HTTP"):
        async with house(metrics_http=taken):
            await asyncio.Event().wait()
