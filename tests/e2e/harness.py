"""A whole mesh as a user starts it: `trunkline up` in a process of its own, on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.kit import launcher
from tests.free_ports import free_ports


@dataclass(frozen=True)
class RunningMesh:
    """Addresses and processes of a mesh that has said that it is ready."""

    public: str
    operators: str
    monitor: str
    metrics: str
    workers: tuple[str, ...]
    environment: Mapping[str, str]
    up: subprocess.Popen[bytes]

    def processes(self) -> list[psutil.Process]:
        """Return every process below `trunkline up`."""
        return psutil.Process(self.up.pid).children(recursive=True)

    def process(self, words: str) -> psutil.Process:
        """Return the process whose command line holds `words`, but is not a launcher of one that does."""
        found = [child for child in self.processes() if words in _command_line(child)]
        assert found, f"no process of the mesh has {words!r} in its command line"
        return found[-1]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def mesh_environment(folder: Path, *, workers: int = 1, **extra: str) -> dict[str, str]:
    """Return the environment of a mesh that keeps its state in `folder` and listens on free ports."""
    public, operators, controller, metrics, front, *others = free_ports(9 + workers)
    tokenizer, recommender, rl_policy, monitor, *worker_ports = others
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))},
        **{name: value for name, value in os.environ.items() if name == "TRUNKLINE_CACHE"},
        "TRUNKLINE_PUBLIC": f"127.0.0.1:{public}",
        "TRUNKLINE_OPERATORS": f"127.0.0.1:{operators}",
        "TRUNKLINE_TOKENIZER": f"127.0.0.1:{tokenizer}",
        "TRUNKLINE_RECOMMENDER": f"127.0.0.1:{recommender}",
        "TRUNKLINE_RL_POLICY": f"127.0.0.1:{rl_policy}",
        "TRUNKLINE_MONITOR": f"127.0.0.1:{monitor}",
        "TRUNKLINE_CONTROLLER": f"127.0.0.1:{controller}",
        "TRUNKLINE_METRICS_HTTP": f"127.0.0.1:{metrics}",
        "TRUNKLINE_FRONT_PORT": str(front),
        "TRUNKLINE_WORKERS": ",".join(f"127.0.0.1:{port}" for port in worker_ports),
        "TRUNKLINE_STATE": str(folder / "state"),
        **extra,
    }


@contextmanager
def running_mesh(environment: Mapping[str, str], log: Path) -> Iterator[RunningMesh]:
    """Start a mesh, wait until it says that it is ready, and stop it again at the end."""
    heard, told = os.pipe()
    dies_with_us = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid())]
    with log.open("w") as printed, os.fdopen(heard) as ready:
        up = subprocess.Popen(
            [*dies_with_us, sys.executable, "-m", "gateway.cli", "up", "--ready-fd", str(told)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=(told,),
            start_new_session=True,
        )
        os.close(told)
        try:
            assert ready.readline(), f"the mesh ended before it was ready:\n{log.read_text()[-4000:]}"
            yield RunningMesh(
                public=environment["TRUNKLINE_PUBLIC"],
                operators=environment["TRUNKLINE_OPERATORS"],
                monitor=environment["TRUNKLINE_MONITOR"],
                metrics=environment["TRUNKLINE_METRICS_HTTP"],
                workers=tuple(environment["TRUNKLINE_WORKERS"].split(",")),
                environment=environment,
                up=up,
            )
        finally:
            stop(up)


def stop(up: subprocess.Popen[bytes]) -> None:
    """End `trunkline up` as Ctrl-C would, and with force if it does not end."""
    if up.poll() is None:
        up.send_signal(signal.SIGINT)
    try:
        up.wait(timeout=40)
    except subprocess.TimeoutExpired:
        up.kill()
        up.wait()
        raise
