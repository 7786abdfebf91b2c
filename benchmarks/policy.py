"""`python -m benchmarks.policy`: how fast the policy service acts, alone and while its learner trains.

The service is one process with SQLite on disk, the callers another; both, and the learner, share the first
two cores. Acts go one by one with 1, 8, 32 and 256 episodes at once, rollouts with 1 and 64 environments a
message. A rate per core is answers over the processor time that the service itself used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from trunkline.policy.v1 import algorithms_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from benchmarks import machine, policy_load, quiet, report
from benchmarks.figures import Goal
from benchmarks.own_mesh import free_ports
from benchmarks.policy_load import Acts

ACTS_A_CORE, ROLLED, LATE_UNDER_TRAINING, LATE_OF_A_CROWD_MS = 2_500.0, 40_000.0, 2.0, 20.0
PAGE = Path(__file__).with_suffix(".md")
HEAD = ("", "actions/s", "per core of the service", "wait p50, ms", "wait p99, ms")
WARM, BACKLOG_MESSAGES = 2.0, 600


@dataclass
class Found:
    """What a run has shown, by what was done."""

    rows: dict[str, tuple[Acts, float]] = field(default_factory=dict)
    """The answers, and the rate per core of the service."""
    trained: int = 0
    """Updates that the learner made while acts were measured."""

    def goals(self) -> list[Goal]:
        """Return the goals."""
        busy, idle = self.rows["8 episodes, training"][0], self.rows["8 episodes"][0]
        crowd = self.rows["256 episodes"][0]
        return [
            Goal("Act/s per core", self.rows["32 episodes"][1], ACTS_A_CORE),
            Goal("actions/s, 64 a message", self.rows["rollout, 64 environments"][0].rate, ROLLED),
            Goal("p99 training ÷ idle", busy.late_ms / idle.late_ms, LATE_UNDER_TRAINING, most=True),
            Goal("p99 of 256 episodes, ms", crowd.late_ms, LATE_OF_A_CROWD_MS, most=True),
        ]


class Bench:
    """Measures one service."""

    def __init__(
        self, channel: grpc.aio.Channel, stub: PolicyServiceStub, service: psutil.Process, seconds: float
    ) -> None:
        self.found = Found()
        self._channel = channel
        self._stub = stub
        self._service = service
        self._seconds = seconds

    async def run(self) -> None:
        """Measure everything."""
        dqn = algorithms_pb2.DqnParameters(train_interval=1, gradient_steps=1, learning_starts=256)
        await policy_load.create(self._stub, "bench", algorithms_pb2.Algorithm(dqn=dqn))
        await policy_load.act(self._stub, "bench", 32, WARM)
        before = self._used()
        empty = await policy_load.ask(self._channel, 32, self._seconds)
        self._note("32 health checks", empty, len(empty.waits_ms), before)
        for callers in (1, 8, 32, 256):
            await self._acts(f"{callers} episode{'s' * (callers > 1)}", callers)
        for environments in (1, 64):
            await self._rollout(
                f"rollout, {environments} environment{'s' * (environments > 1)}", environments
            )
        await policy_load.roll(self._stub, "bench", 64, BACKLOG_MESSAGES)
        await policy_load.train(self._stub, "bench")
        await policy_load.act(self._stub, "bench", 8, WARM)
        before = await policy_load.learned(self._stub, "bench")
        await self._acts("8 episodes, training", 8)
        self.found.trained = await policy_load.learned(self._stub, "bench") - before

    async def _acts(self, name: str, callers: int) -> None:
        before = self._used()
        acts = await policy_load.act(self._stub, "bench", callers, self._seconds)
        self._note(name, acts, len(acts.waits_ms), before)

    async def _rollout(self, name: str, environments: int) -> None:
        messages = int(self._seconds * 400)
        before = self._used()
        acts = await policy_load.roll(self._stub, "bench", environments, messages)
        self._note(name, acts, messages * environments, before)

    def _note(self, name: str, acts: Acts, actions: int, before: float) -> None:
        self.found.rows[name] = (acts, actions / max(self._used() - before, 1e-9))
        report.progress(f"{name}: {acts.rate:.0f}/s, p99 {acts.late_ms:.2f} ms")

    def _used(self) -> float:
        times = self._service.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def service() -> Iterator[tuple[str, psutil.Process]]:
    """Run the service in a folder of its own; give its address and its process."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as folder:
        settings = {
            "TRUNKLINE_LISTEN": address,
            "TRUNKLINE_MONITOR": "",
            "TRUNKLINE_POLICY_DATABASE": f"sqlite:///{folder}/policies.db",
        }
        child = subprocess.Popen([sys.executable, "-m", "services.rl_policy"], env={**os.environ, **settings})
        try:
            yield address, psutil.Process(child.pid)
        finally:
            child.terminate()
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


async def measured(address: str, process: psutil.Process, seconds: float) -> Found:
    """Measure the service at `address`."""
    async for channel, stub in policy_load.connected(address):
        bench = Bench(channel, stub, process, seconds)
        await bench.run()
        return bench.found
    raise AssertionError("a stub is yielded once")


def page(found: Found, quietness: str) -> list[str]:
    """Return the paragraphs of the page."""
    lines = [
        [name, f"{acts.rate:.0f}", f"{core:.0f}", f"{acts.middle_ms:.2f}", f"{acts.late_ms:.2f}"]
        for name, (acts, core) in found.rows.items()
    ]
    return [
        "# Acting, alone and while learning",
        machine.heading("benchmarks.policy"),
        (
            f"{quietness} One service process, SQLite (WAL, synchronous FULL), a Q-network of 256 by 256 for "
            "CartPole-v1's spaces; callers in closed loops on the same cores. Rollouts are measured until "
            "everything is kept."
        ),
        report.table(HEAD, lines),
        f"While acts were measured under training, the learner made {found.trained:,} updates.",
        report.goals_table(found.goals()),
    ]


def main() -> int:
    """Measure, print the page and write it; `--json` adds the line for machines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each load lasts")
    parser.add_argument("--quick", action="store_true", help="two seconds each, and the page stays as it is")
    parser.add_argument("--json", action="store_true", help="ends with a line of JSON")
    arguments = parser.parse_args()
    quietness = quiet.claim()
    with service() as (address, process):
        found = asyncio.run(measured(address, process, 2.0 if arguments.quick else arguments.seconds))
    written = page(found, quietness)
    print("\n\n".join(written))
    if not arguments.quick:
        report.write(PAGE, *written)
    if arguments.json:
        told = {
            name: {"rate": round(acts.rate), "p99_ms": round(acts.late_ms, 3)}
            for name, (acts, _) in found.rows.items()
        }
        print(report.last_line(told, found.goals()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
