"""What `trunkline up` starts, what it refuses, and how it runs what it started."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trunkline.worker.v1.worker_pb2 import ModelState, ModelStatus

from gateway.commands.mesh import Mesh
from gateway.commands.plan import Part, UpSettings, check_ports, parts
from gateway.commands.reporter import Bars, Json, Lines
from gateway.commands.run_logs import KEPT_RUNS, RunLogs
from services.kit.command import CommandError
from services.kit.mesh import MESH
from tests.eventually import eventually
from tests.free_ports import free_ports

PARTS = Path(__file__).with_name("parts")


class Said:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def say(self, event: str, sentence: str, **fields: Any) -> None:
        self.events.append({"event": event, "sentence": sentence, **fields})

    def model(self, worker: str, status: ModelStatus) -> None:
        self.say("model", status.model, worker=worker)

    def close(self) -> None:
        self.say("close", "")


def test_it_starts_the_table_in_its_order_with_an_address_each():
    planned = parts(UpSettings())
    own = [entry for entry in MESH if not entry.parent]
    assert [part.name for part in planned] == [entry.name for entry in own]
    assert [part.variables["TRUNKLINE_LISTEN"] for part in planned] == [entry.address for entry in own]


def test_it_starts_a_worker_for_each_address_of_this_machine_and_none_for_others():
    workers = ("127.0.0.1:50052", "dns:///pool:50052", "10.1.2.3:50052", "[::1]:50152", "localhost:50252")
    planned = [part for part in parts(UpSettings(workers=workers)) if part.entry == "inference_worker"]
    assert [part.address for part in planned] == ["127.0.0.1:50052", "[::1]:50152", "localhost:50252"]
    assert len({part.name for part in planned}) == 3
    assert {part.variables["TRUNKLINE_WORKERS"] for part in planned} == {",".join(workers)}


def test_more_workers_listen_clear_of_every_other_port():
    settings = UpSettings().with_workers(4)
    assert len(settings.workers) == 4
    assert not {int(worker.rpartition(":")[2]) for worker in settings.workers[1:]} & {
        entry.port for entry in MESH
    }


def test_an_empty_monitor_address_starts_none():
    assert "monitor" not in [part.entry for part in parts(UpSettings(monitor=""))]


def test_a_port_that_another_mesh_shares_out_is_refused_with_a_sentence():
    with socket.socket() as envoy:
        envoy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        envoy.bind(("127.0.0.1", 0))
        envoy.listen()
        public = f"127.0.0.1:{envoy.getsockname()[1]}"
        with pytest.raises(CommandError, match=f"{public}.*Is a mesh running already"):
            check_ports(parts(replace(free_settings(), public=public)))


def test_free_ports_are_taken_as_they_are():
    check_ports(parts(free_settings()))


def test_two_that_want_one_port_are_told_so():
    settings = free_settings()
    with pytest.raises(CommandError, match="both to listen"):
        check_ports(parts(replace(settings, tokenizer=settings.monitor)))


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:http", "127.0.0.1:99999", "192.0.2.1:8080"])
def test_an_address_that_cannot_be_listened_on_is_named(address: str):
    with pytest.raises(CommandError, match=address):
        check_ports(parts(replace(free_settings(), public=address)))


def free_settings() -> UpSettings:
    public, operators, controller, tokenizer, *optional, worker, monitor, metrics, front = free_ports(10)
    return UpSettings(
        public=f"127.0.0.1:{public}",
        operators=f"127.0.0.1:{operators}",
        controller=f"127.0.0.1:{controller}",
        tokenizer=f"127.0.0.1:{tokenizer}",
        recommender=f"127.0.0.1:{optional[0]}",
        rl_policy=f"127.0.0.1:{optional[1]}",
        workers=(f"127.0.0.1:{worker}",),
        monitor=f"127.0.0.1:{monitor}",
        metrics_http=f"127.0.0.1:{metrics}",
        front_port=front,
    )


@pytest.fixture
def logs(tmp_path: Path) -> RunLogs:
    return RunLogs.begin(tmp_path)


@asynccontextmanager
async def running(logs: RunLogs, said: Said, **modules: str) -> AsyncIterator[Mesh]:
    """A mesh whose parts are stand-ins, by name."""
    stopped = str(logs.folder / "stopped")
    planned = [
        Part(name, name, module, "", {"PYTHONPATH": str(PARTS), "NAME": name, "STOPPED": stopped}, ())
        for name, module in modules.items()
    ]
    mesh = Mesh(planned, logs, said)
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.stop()


def has_written(logs: RunLogs, name: str) -> Callable[[], Any]:
    async def check() -> bool:
        return "up" in logs.tail(name)

    return check


async def test_each_process_writes_to_a_file_of_its_own_and_they_stop_backwards(logs: RunLogs):
    async with running(logs, Said(), first="steady_part", second="steady_part"):
        for name in ("first", "second"):
            await eventually(has_written(logs, name), within=60)
    assert (logs.folder / "stopped").read_text().split() == ["second", "first"]


async def test_a_process_that_keeps_ending_is_told_of_with_its_last_lines(logs: RunLogs):
    said = Said()
    async with running(logs, said, steady="steady_part", failing="failing_part") as mesh, asyncio.timeout(60):
        with pytest.raises(CommandError, match="flux capacitor") as raised:
            await mesh.broken()
    assert str(logs.path("failing")) in str(raised.value)
    assert said.events[0] == {
        "event": "ended",
        "sentence": "The failing ended (exit status 1) and is started again.",
        "process": "failing",
        "status": 1,
    }
    assert not [event for event in said.events if event["process"] == "steady"]


def test_the_logs_of_runs_long_past_are_removed(tmp_path: Path):
    old = [tmp_path / "runs" / f"20200101-0000{number:02}-1" for number in range(KEPT_RUNS + 3)]
    for folder in old:
        folder.mkdir(parents=True)
    kept = RunLogs.begin(tmp_path).folder
    assert kept.is_dir()
    assert len(list((tmp_path / "runs").iterdir())) == KEPT_RUNS
    assert not old[0].exists()


def loading(progress: float) -> ModelStatus:
    return ModelStatus(model="m", state=ModelState.MODEL_STATE_FETCHING, progress=progress, message="from x")


def test_without_a_terminal_progress_is_a_line_a_quarter(capsys: pytest.CaptureFixture[str]):
    lines = Lines()
    for percent in range(100):
        lines.model("w", loading(percent / 100))
    percents = (" 0%", "25%", "50%", "75%")
    assert capsys.readouterr().out.splitlines() == [f"w   {each}  m  fetching: from x" for each in percents]


def test_json_progress_is_an_object_a_line(capsys: pytest.CaptureFixture[str]):
    machine = Json()
    for progress in (0.5, 0.5):
        machine.model("w", loading(progress))
    machine.say("ready", "Ready", address="127.0.0.1:1")
    model, ready = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (model["event"], model["state"], model["progress"]) == ("model", "fetching", 0.5)
    assert ready["address"] == "127.0.0.1:1"


def test_at_a_terminal_progress_is_a_bar_with_its_words_unharmed():
    screen = io.StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=120))
    bars.model(
        "w", ModelStatus(model="m", state=ModelState.MODEL_STATE_LOADING, progress=0.5, message="[7/9]")
    )
    bars.say("ready", "Ready on [::1]:8080")
    bars.close()
    assert "m  loading: [7/9]" in screen.getvalue()
    assert "50 %" in screen.getvalue()
    assert "Ready on [::1]:8080" in screen.getvalue()
