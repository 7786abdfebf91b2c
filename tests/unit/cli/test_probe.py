"""The health check that platforms run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from services.kit.probe import main
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.free_ports import free_ports

SERVICE = "trunkline.worker.v1.WorkerService"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server("127.0.0.1:0", Telemetry.disabled(), grace=0) as server:
        yield server


async def probe(*arguments: str) -> tuple[int | None, str]:
    """Run the probe as a platform does; returns its exit status and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.kit.probe", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_server_and_its_service_that_serve_are_healthy(server: Server):
    server.set_serving(SERVICE, serving=True)
    address = f"127.0.0.1:{await server.start()}"
    assert await probe(address) == (0, "")
    assert await probe(address, SERVICE) == (0, "")


async def test_a_service_that_does_not_serve_is_unhealthy(server: Server):
    server.set_serving(SERVICE, serving=False)
    address = f"127.0.0.1:{await server.start()}"
    assert await probe(address, SERVICE) == (1, f"{SERVICE} at {address} is NOT_SERVING\n")


async def test_a_service_that_is_not_known_is_unhealthy(server: Server):
    address = f"127.0.0.1:{await server.start()}"
    status, said = await probe(address, SERVICE)
    assert status == 1
    assert "NOT_FOUND" in said


def test_nobody_there_is_unhealthy(capsys: pytest.CaptureFixture[str]):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    assert main([address]) == 1
    assert capsys.readouterr().err == f"{address} does not say how it is: UNAVAILABLE\n"


def test_other_arguments_are_told_how_it_is_used(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage:")
