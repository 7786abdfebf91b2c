"""The service as a process on a port of its own, which can be killed and started again over the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
from trunkline.policy.v1 import policies_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from tests.free_ports import free_ports

START_SECONDS = 240


class PolicyProcess:
    """One service process after the other, all on one port and one database."""

    def __init__(self, database: str, log: Path) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self._environment = {
            **os.environ,
            "TRUNKLINE_LISTEN": self.address,
            "TRUNKLINE_MONITOR": "",
            "TRUNKLINE_POLICY_DATABASE": database,
            "OMP_NUM_THREADS": "1",
        }
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it answers."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "services.rl_policy"]
            self._child = subprocess.Popen(command, env=self._environment, stderr=log)
        with grpc.insecure_channel(self.address) as channel:
            request = policies_pb2.ListPoliciesRequest()
            PolicyServiceStub(channel).ListPolicies(request, wait_for_ready=True, timeout=START_SECONDS)

    def kill(self) -> None:
        """Kill it as the kernel would for want of memory."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def kill_learner(self) -> bool:
        """Kill its learner the same way; return whether there was one."""
        assert self._child is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._child.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("services.rl_policy.learner" in word for word in child.cmdline()):
                        child.send_signal(signal.SIGKILL)
                        return True
        return False

    def stop(self) -> int:
        """End it in order; return its exit status."""
        assert self._child is not None
        self._child.terminate()
        return self._child.wait(timeout=120)


@contextlib.contextmanager
def policy_process(database: str, log: Path) -> Iterator[PolicyProcess]:
    """Run the service until the block ends."""
    process = PolicyProcess(database, log)
    try:
        process.start()
        yield process
    finally:
        if process._child is not None and process._child.poll() is None:
            process.kill()
