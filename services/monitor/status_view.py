"""The picture of the mesh as a terminal shows it."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.duration_pb2 import Duration
from rich.console import Group
from rich.table import Table
from rich.text import Text
from trunkline.monitor.v1 import monitor_pb2 as pb
from trunkline.worker.v1.worker_pb2 import DeviceStatus, Load, ModelState, ModelStatus

from services.monitor.terminal import NOTHING, plain, rate, rpc, seconds, size, table

_HEALTH = {
    pb.HEALTH_SERVING: ("serving", "green"),
    pb.HEALTH_NOT_SERVING: ("not serving", "yellow"),
    pb.HEALTH_UNREACHABLE: ("unreachable", "red"),
}
_STATES = {ModelState.MODEL_STATE_READY: "green", ModelState.MODEL_STATE_FAILED: "red"}
PROGRESS_CELLS = 10


def status(mesh: pb.Mesh, note: str = "") -> Group:
    """Return every table that has a row, under a line with the moment and a `note`."""
    moment = mesh.observed_at.ToDatetime(tzinfo=UTC).astimezone()
    heading = Text.assemble(("Trunkline", "bold"), f"  {moment:%H:%M:%S}  ", (note, "red"))
    parts: list[Table | Text] = [heading]
    for each in (_services(mesh), _devices(mesh), _models(mesh), _rpcs(mesh)):
        if each.row_count:
            parts += [Text(), each]
    return Group(*parts)


def _services(mesh: pb.Mesh) -> Table:
    shown = table("Services", ("service", "process", "address", "health"), ("cpu", "memory", "reported"))
    for each in mesh.services:
        reports = each.HasField("reported_at")
        ago = (mesh.observed_at.ToNanoseconds() - each.reported_at.ToNanoseconds()) / 1e9
        shown.add_row(
            plain(each.service),
            plain(each.instance or NOTHING),
            plain(each.address or NOTHING),
            _health(each.health, unasked="reports" if reports else "asking"),
            f"{each.cpu_cores:.0%}" if reports else NOTHING,
            size(each.memory_bytes) if reports else NOTHING,
            f"{max(ago, 0):.0f} s ago" if reports else NOTHING,
        )
    return shown


def _devices(mesh: pb.Mesh) -> Table:
    shown = table(
        "Workers", ("worker", "health", "device", "what it is", "engine"), ("memory free", "of", "restarts")
    )
    for worker in mesh.workers:
        if not worker.status.devices:
            shown.add_row(plain(worker.address), _worker_health(worker), *[NOTHING] * 6)
        for device in worker.status.devices:
            shown.add_row(
                plain(worker.address),
                _worker_health(worker),
                plain(device.device),
                plain(device.description),
                _engine(device),
                size(device.free_memory_bytes),
                size(device.total_memory_bytes),
                str(device.engine_restarts),
            )
    return shown


def _models(mesh: pb.Mesh) -> Table:
    shown = table(
        "Models",
        ("model", "version", "on", "state"),
        ("queued", "running", "cached", "req/s", "read tok/s", "made tok/s", "first token p50", "p99"),
    )
    stats = {(each.model, each.version): each for each in mesh.models}
    for worker in mesh.workers:
        for model in worker.status.models:
            # What a model does is counted over all workers: it stands in its first row.
            own = stats.pop((model.model, model.version), None)
            place = f"{worker.address} {model.device}"
            load = (str(model.load.queued), str(model.load.running), _cached(model.load))
            state = Text("lost", "red") if worker.health == pb.HEALTH_UNREACHABLE else _state(model)
            shown.add_row(plain(model.model), plain(model.version), plain(place), state, *load, *_work(own))
    for (name, version), own in stats.items():
        shown.add_row(
            plain(name), plain(version), NOTHING, Text("on no worker", "dim"), "", "", "", *_work(own)
        )
    return shown


def _rpcs(mesh: pb.Mesh) -> Table:
    shown = table("Calls", ("service", "rpc"), ("calls", "errors", "calls/s", "p50", "p99"))
    for each in mesh.rpcs:
        shown.add_row(
            plain(each.service),
            plain(rpc(each.rpc)),
            f"{each.calls:,}",
            Text(f"{each.errors:,}", "red" if each.errors else ""),
            rate(each.calls_per_second),
            _quantile(each.latency_p50, given=each.HasField("latency_p50")),
            _quantile(each.latency_p99, given=each.HasField("latency_p99")),
        )
    return shown


def _health(health: pb.Health.ValueType, unasked: str) -> Text:
    return Text(*_HEALTH.get(health, (unasked, "dim")))


def _worker_health(worker: pb.Worker) -> Text:
    return Text("draining", "yellow") if worker.status.draining else _health(worker.health, unasked="asking")


def _engine(device: DeviceStatus) -> Text:
    return Text(f"up, pid {device.engine_pid}", "green") if device.engine_ready else Text("down", "red")


def _state(model: ModelStatus) -> Text:
    word = ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()
    shown = Text.assemble((word, _STATES.get(model.state, "yellow")))
    if model.state in {ModelState.MODEL_STATE_FETCHING, ModelState.MODEL_STATE_LOADING}:
        done = round(min(max(model.progress, 0.0), 1.0) * PROGRESS_CELLS)
        shown.append(f" {'█' * done}{'░' * (PROGRESS_CELLS - done)} {model.progress:.0%}")
    if model.message:
        shown.append_text(plain(f" {model.message}", "dim"))
    return shown


def _cached(load: Load) -> str:
    """Return the share of prompt tokens that came from the prefix cache."""
    tokens = load.cached_prompt_tokens + load.prompt_tokens
    return f"{load.cached_prompt_tokens / tokens:.0%}" if tokens else NOTHING


def _work(stats: pb.ModelStats | None) -> tuple[str, ...]:
    if stats is None:
        return (NOTHING,) * 5
    return (
        rate(stats.requests_per_second),
        rate(stats.prompt_tokens_per_second),
        rate(stats.generated_tokens_per_second),
        _quantile(stats.time_to_first_token_p50, given=stats.HasField("time_to_first_token_p50")),
        _quantile(stats.time_to_first_token_p99, given=stats.HasField("time_to_first_token_p99")),
    )


def _quantile(value: Duration, *, given: bool) -> str:
    return seconds(value) if given else NOTHING
