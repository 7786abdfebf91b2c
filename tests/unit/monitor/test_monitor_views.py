"""The mesh and its traces as a terminal shows them."""

from __future__ import annotations

import io

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType
from trunkline.monitor.v1 import monitor_pb2 as pb
from trunkline.worker.v1 import worker_pb2 as worker

from services.monitor.status_view import status
from services.monitor.terminal import plain, rate, rpc, seconds, size
from services.monitor.trace_view import summaries, trace, tree

NOW = 1_700_000_000


def shown(what: RenderableType, *, color: bool = False) -> str:
    file = io.StringIO()
    system = "standard" if color else None
    Console(file=file, width=160, force_terminal=color, color_system=system).print(what)
    return file.getvalue()


def duration(nanoseconds: int) -> Duration:
    return Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def span(number: int, parent: int = 0, *, start: int = 0, length: int = 10, **more: object) -> pb.Span:
    return pb.Span(
        **{
            "span_id": f"{number:016x}",
            "parent_span_id": f"{parent:016x}" if parent else "",
            "service": "front",
            "name": f"span {number}",
            "kind": "internal",
            "start_time": Timestamp(seconds=NOW, nanos=start * 1_000_000),
            "duration": duration(length * 1_000_000),
            **more,
        }  # type: ignore[arg-type]
    )


def mesh() -> pb.Mesh:
    loading = worker.ModelStatus(
        model="big", version="1", state="MODEL_STATE_LOADING", progress=0.42, message="reading weights"
    )
    ready = worker.ModelStatus(
        model="small",
        version="1",
        state="MODEL_STATE_READY",
        device="cpu",
        message="native bfloat16, amx",
        load=worker.Load(queued=3, running=2, cached_prompt_tokens=300, prompt_tokens=100),
    )
    device = worker.DeviceStatus(
        device="cpu",
        description="AMD EPYC",
        total_memory_bytes=8 * 2**30,
        free_memory_bytes=2**30,
        engine_ready=True,
    )
    state = worker.WatchStatusResponse(devices=[device], models=[loading, ready])
    return pb.Mesh(
        observed_at=Timestamp(seconds=NOW),
        services=[
            pb.ServiceInstance(
                service="front",
                instance="box:1",
                cpu_cores=0.5,
                memory_bytes=300 * 2**20,
                reported_at=Timestamp(seconds=NOW - 1),
            ),
            pb.ServiceInstance(service="tokenizer", address="127.0.0.1:50051", health="HEALTH_UNREACHABLE"),
        ],
        workers=[
            pb.Worker(address="127.0.0.1:50052", health="HEALTH_SERVING", status=state),
            pb.Worker(address="127.0.0.1:50053", health="HEALTH_UNREACHABLE"),
        ],
        rpcs=[
            pb.RpcStats(
                service="front",
                rpc="trunkline.inference.v1.InferenceService/Generate",
                calls=1_234,
                errors=5,
                latency_p50=duration(12_300_000),
            )
        ],
        models=[
            pb.ModelStats(
                model="small", version="1", requests_per_second=1.5, generated_tokens_per_second=2_048
            ),
            pb.ModelStats(model="gone", version="2", requests=3),
        ],
    )


def test_the_status_has_services_workers_models_and_calls():
    lines = shown(status(mesh())).splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "box:1" in rows["front"] or "InferenceService/Generate" in rows["front"]
    assert "unreachable" in rows["tokenizer"]
    assert "1.0 GiB" in rows["127.0.0.1:50052"]
    assert "unreachable" in rows["127.0.0.1:50053"]
    assert "loading ████░░░░░░ 42% reading weights" in rows["big"]
    assert "2,048" in rows["small"]
    assert "ready native bfloat16, amx" in rows["small"]
    assert "75%" in rows["small"]
    assert "on no worker" in rows["gone"]
    assert any(
        "1,234" in line and "12.3 ms" in line and "InferenceService/Generate" in line for line in lines
    )


def test_an_empty_mesh_is_a_line():
    assert len(shown(status(pb.Mesh())).splitlines()) == 1


def test_a_note_stands_in_the_first_line():
    assert "waiting" in shown(status(pb.Mesh(), "waiting")).splitlines()[0]


def test_a_trace_is_a_tree_with_offsets_durations_and_bars():
    found = pb.GetTraceResponse(
        trace_id="ab" * 16,
        spans=[
            span(1, length=100),
            span(2, 1, start=10, length=20),
            span(3, 2, start=15, length=5),
            span(4, 1, start=50, length=50, kind="client", error="UNAVAILABLE"),
        ],
    )
    lines = shown(trace(found)).splitlines()
    assert lines[0].rstrip() == f"Trace {'ab' * 16}  100 ms, 4 spans"
    body = [line.rstrip() for line in lines[2:]]
    assert [line.split("front")[0].rstrip() for line in body] == [
        "span 1",
        "├─ span 2",
        "│  └─ span 3",
        "└─ span 4 client UNAVAILABLE",
    ]
    assert "+10.0 ms" in body[1]
    assert body[0].count("█") == 32
    assert body[3].count("█") == 16


def test_a_failed_span_is_red():
    red = "\x1b[31m"
    failed = pb.GetTraceResponse(spans=[span(1, error="INTERNAL")])
    assert red in shown(trace(failed), color=True)
    assert red not in shown(trace(pb.GetTraceResponse(spans=[span(1)])), color=True)


def test_links_are_shown_and_many_are_counted():
    links = [pb.SpanLink(trace_id=f"{number:032x}", span_id=f"{number:016x}") for number in range(6)]
    printed = shown(trace(pb.GetTraceResponse(spans=[span(1, links=links)])))
    assert f"linked to {3:032x} {3:016x}" in printed
    assert "and to 2 more" in printed


def test_a_span_without_its_parent_is_a_root_and_a_circle_is_shown_once():
    spans = [span(1, 9), span(2, 3), span(3, 2)]
    assert sorted(branch.span.span_id[-1] for branch in tree(spans)) == ["1", "2", "3"]
    assert {branch.first for branch in tree(spans)} == {""}


def test_a_deep_trace_is_walked():
    spans = [span(number, number - 1) for number in range(1, 2_000)]
    assert sum(1 for _ in tree(spans)) == 1_999


def test_traces_are_listed_with_their_roots():
    found = [
        pb.TraceSummary(trace_id="ab" * 16, root="a.b.Inference/Generate", duration=duration(5), spans=3),
    ]
    assert "Inference/Generate" in shown(summaries(found))


def test_figures_are_read_at_a_glance():
    given = (400_000, 12_345_678, 123_456_789, 1_234_567_890, 83_000_000_000)
    assert [seconds(duration(each)) for each in given] == ["400 µs", "12.3 ms", "123 ms", "1.23 s", "83 s"]
    assert [size(each) for each in (0, 999, 2_000, 3 * 2**30)] == ["0 B", "999 B", "2.0 KiB", "3.0 GiB"]
    assert [rate(each) for each in (0.0, 1.25, 12_345.0)] == ["-", "1.2", "12,345"]
    assert [rpc(each) for each in ("a.v1.B/C", "engine.decode")] == ["B/C", "engine.decode"]


def test_what_a_terminal_would_obey_is_left_out():
    assert plain("a\x1b[31mb\nc\u202e").plain == "a[31mbc"
