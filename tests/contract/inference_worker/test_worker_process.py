"""The worker as a process: it starts with a sentence or not at all, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from trunkline.worker.v1.worker_pb2 import WatchStatusRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from tests.contract.inference_worker.running_worker import ENCODER, catalogue
from tests.free_ports import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def process(folder: Path, port: int, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m services.inference_worker`."""
    names = {
        name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))
    }
    settings = {
        "TRUNKLINE_LISTEN": f"127.0.0.1:{port}",
        "TRUNKLINE_CATALOGUE": str(catalogue(folder)),
        "TRUNKLINE_CACHE": str(folder / "cache"),
        "TRUNKLINE_MODELS": ENCODER,
        "TRUNKLINE_MONITOR": "",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.inference_worker"),
        env={**names, **settings, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def engine(port: int) -> psutil.Process:
    """Return the engine as soon as it takes commands."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(60):
        stub = WorkerServiceStub(channel)
        async for state in stub.WatchStatus(WatchStatusRequest(), wait_for_ready=True):
            if state.devices and state.devices[0].engine_ready:
                return psutil.Process(state.devices[0].engine_pid)
    raise AssertionError("the worker ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_however_it_ends_its_engine_ends_too(tmp_path: Path, number: signal.Signals):
    (port,) = free_ports(1)
    async with process(tmp_path, port) as worker:
        child = await engine(port)
        worker.send_signal(number)
        async with asyncio.timeout(60):
            status = await worker.wait()
        assert status == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        await asyncio.to_thread(child.wait, 60)


@pytest.mark.parametrize(
    ("name", "value"), [("TRUNKLINE_MODELS", "no-such-model"), ("TRUNKLINE_DTYPE", "int3")]
)
async def test_settings_that_cannot_be_used_end_it_with_a_sentence(tmp_path: Path, name: str, value: str):
    (port,) = free_ports(1)
    async with process(tmp_path, port, **{name: value}) as worker, asyncio.timeout(60):
        _, errors = await worker.communicate()
    assert worker.returncode == 1
    assert value in errors.decode()
    assert "Traceback" not in errors.decode()
