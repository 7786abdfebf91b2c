from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.kit.telemetry import Telemetry, resource
from services.kit.tracing import _peer, extract, inject

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def identity(context: Context) -> SpanContext:
    return get_current_span(context).get_span_context()


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"01-{TRACE}-{SPAN}-03-more", f"cc-{TRACE}-{SPAN}-01"],
)
def test_a_callers_context_is_read_as_the_reference_reads_it(value: str):
    ours = identity(extract([("user-agent", "x"), ("traceparent", value), ("tracestate", "a=1,b=2")]))
    carrier = {"traceparent": value, "tracestate": "a=1,b=2"}
    theirs = identity(TraceContextTextMapPropagator().extract(carrier, context=Context()))
    assert (ours.trace_id, ours.span_id, ours.trace_state) == (
        theirs.trace_id,
        theirs.span_id,
        theirs.trace_state,
    )
    assert ours.trace_flags.sampled == theirs.trace_flags.sampled
    assert ours.is_remote


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_broken_context_begins_a_new_trace(value: str):
    assert not identity(extract([("traceparent", value), ("tracestate", "a=1")])).is_valid


def test_what_is_passed_on_is_read_back_the_same():
    parent = extract([("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1")])
    telemetry = Telemetry.of(resource("x"))
    span = telemetry.start_call("call", parent, SpanKind.CLIENT, {})
    back = identity(extract(inject(span)))
    assert f"{back.trace_id:032x}" == TRACE
    assert back.span_id == span.get_span_context().span_id
    assert back.trace_state.get("a") == "1"
    assert inject(INVALID_SPAN) == ()
    telemetry.close()


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("dns:///tokenizer:50051", "tokenizer", 50051),
        ("[::1]:50051", "[::1]", 50051),
        ("unix:/run/x", "unix:/run/x", None),
        ("", None, None),
    ],
)
def test_a_target_names_its_server(address: str, host: str | None, port: int | None):
    assert _peer(address) == {
        key: value
        for key, value in {"server.address": host, "server.port": port}.items()
        if value is not None
    }


def test_a_call_span_is_an_ordinary_span_to_everybody_else():
    exporter = InMemorySpanExporter()
    telemetry = Telemetry.of(resource("x"), processor=SimpleSpanProcessor(exporter))
    span = telemetry.start_call("call", Context(), SpanKind.SERVER, {"a": 1})
    child = telemetry.tracer.start_span("child", set_span_in_context(span))
    child.end()
    span.set_attributes({"b": "two"})
    span.add_event("happened", {"c": True}, timestamp=7)
    span.record_exception(ValueError("a client's text"))
    span.add_link(child.get_span_context(), {"d": 4})
    span.update_name("renamed")
    span.set_status(StatusCode.ERROR, "why")
    assert span.is_recording()
    span.end(end_time=99)
    span.end()
    assert not span.is_recording()
    inner, outer = exporter.get_finished_spans()
    assert inner.parent == outer.context
    assert (outer.name, outer.kind, outer.end_time) == ("renamed", SpanKind.SERVER, 99)
    assert dict(outer.attributes or {}) == {"a": 1, "b": "two"}
    assert [(event.name, dict(event.attributes or {})) for event in outer.events] == [
        ("happened", {"c": True}),
        ("exception", {"exception.type": "ValueError"}),
    ]
    assert outer.links[0].context == child.get_span_context()
    assert (outer.status.status_code, outer.status.description) == (StatusCode.ERROR, "why")
    span.set_status(Status(StatusCode.OK))
    assert outer.status.status_code is StatusCode.ERROR
    assert outer.resource.attributes["service.name"] == "x"
    telemetry.close()


@pytest.mark.parametrize("flags", [TraceFlags.DEFAULT, TraceFlags.SAMPLED])
def test_a_trace_that_links_to_a_recorded_span_is_recorded_too(flags: int):
    exporter = InMemorySpanExporter()
    telemetry = Telemetry.of(resource("x"), processor=SimpleSpanProcessor(exporter), trace_ratio=0.0)
    context = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(flags))
    with telemetry.tracer.start_as_current_span("batch", Context(), links=[Link(context)]):
        pass
    assert len(exporter.get_finished_spans()) == flags
    telemetry.close()


def test_a_ratio_samples_that_share_of_the_traces_begun_here():
    telemetry = Telemetry.of(
        resource("x"), processor=SimpleSpanProcessor(InMemorySpanExporter()), trace_ratio=0.25
    )
    sampled = sum(
        telemetry.start_call("call", Context(), SpanKind.CLIENT, {}).is_recording() for _ in range(4_000)
    )
    assert 800 < sampled < 1_200
    telemetry.close()
