"""The command line itself: how commands are found, and what a person is told when something is wrong."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gateway import cli
from gateway.commands.complaint import ADVICE, complaint
from services.kit.errors import NotFound, Reason
from tests.free_ports import free_ports
from tests.unit.cli.double import Double

Trunkline = Callable[..., tuple[int, str, str]]
MODULE = [sys.executable, "-m", "gateway.cli"]


def test_help_lists_every_command(trunkline: Trunkline, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        trunkline("--help")
    printed = capsys.readouterr().out
    assert all(
        name in printed for name in ("chat", "embed", "generate", "models", "status", "tour", "trace", "up")
    )


def test_it_starts_with_a_fraction_of_a_second_of_work():
    """Processor time, 0.15 s here: a slow machine shared with others takes several times that, torch 3 s."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*MODULE, "--help"], capture_output=True, check=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert "generate" in done.stdout


def test_starting_it_imports_no_heavy_module():
    program = "import sys, gateway.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout.split()
    assert not {"grpc", "rich", "torch", "opentelemetry", "google"} & set(loaded)


def test_without_a_mesh_the_sentence_says_how_to_start_one(
    trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("TRUNKLINE_ADDRESS", address)
    status, out, err = trunkline("generate", "Hello")
    assert (status, out) == (1, "")
    assert err.startswith(f"No mesh answers at {address}. Start one with `make up`")


def test_a_refusal_is_a_sentence_with_what_to_do(double: Double, trunkline: Trunkline):
    status, _, err = trunkline("generate", "--model", "gtp-2", "Hello")
    assert status == 1
    assert err == "No model 'gtp-2'. `trunkline models list` shows what is here.\n"


def test_with_json_a_refusal_is_an_object_with_its_reason(double: Double, trunkline: Trunkline):
    _, out, err = trunkline("generate", "--json", "--model", "gtp-2", "Hello")
    assert out == ""
    assert json.loads(err)["error"]["reason"] == "MODEL_NOT_FOUND"


def plug_in(monkeypatch: pytest.MonkeyPatch, entry: EntryPoint) -> None:
    """Let the command line find `entry` beside what is installed."""
    found = [*cli.entry_points(group=cli.GROUP), entry]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)


def test_a_module_that_is_not_there_breaks_only_its_own_command(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    plug_in(monkeypatch, EntryPoint("broken", "no_such_module:COMMAND", cli.GROUP))
    status, _, err = trunkline("broken", "--anything")
    assert status == 1
    assert "needs no_such_module, which is not installed" in err
    assert 'pip install "trunkline[all]"' in err
    assert trunkline("generate", "Hello")[0] == 0


def test_help_lists_a_broken_command_as_such(
    trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    plug_in(monkeypatch, EntryPoint("broken", "json:loads", cli.GROUP))
    with pytest.raises(SystemExit):
        trunkline()
    assert "not available here" in capsys.readouterr().out
    assert "not a Command" in trunkline("broken")[2]


def test_a_fault_of_its_own_is_a_sentence_too(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gateway.commands.answer.chat", fail)
    status, _, err = trunkline("generate", "Hello")
    assert status == 1
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


def test_an_error_says_its_message_and_advice_once():
    said = complaint(NotFound(Reason.MODEL_NOT_FOUND, "no model 'x'"))
    assert said.sentence == f"No model 'x'. {ADVICE[Reason.MODEL_NOT_FOUND]}"


@pytest.mark.parametrize("words", [["generate", "forever"], ["chat"]])
def test_ctrl_c_ends_a_command_with_130_and_cancels_the_call(double: Double, words: list[str]):
    command = subprocess.Popen(
        [*MODULE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdin is not None
    assert command.stdout is not None
    command.stdin.write("forever\n")
    command.stdin.flush()
    assert command.stdout.read(3) == "on "
    command.send_signal(2)
    _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (130, "")
    assert double.cancelled.wait(10)


def test_a_closed_pipe_is_no_fault(double: Double):
    done = subprocess.run(
        ["/bin/sh", "-c", f"{' '.join(MODULE)} models list --json | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


BASE_COMMANDS = [
    ["generate", "Hello"],
    ["embed", "a", "b"],
    ["models", "list"],
    ["status", "--help"],
    ["trace", "--help"],
]


@pytest.mark.parametrize("words", BASE_COMMANDS, ids=" ".join)
def test_the_base_install_is_enough_to_ask(double: Double, words: list[str]):
    done = with_base_install(words)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_extras_up_says_what_to_install(double: Double):
    done = with_base_install(["up"])
    assert done.returncode == 1
    assert 'pip install "trunkline[all]"' in done.stderr
    assert "Traceback" not in done.stderr


def with_base_install(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command where every distribution that the base install does not bring is hidden."""
    command = [sys.executable, str(Path(__file__).with_name("base_install.py")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
