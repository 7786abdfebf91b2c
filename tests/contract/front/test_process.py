"""`python -m gateway.front` follows its settings, serves, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import grpc

from tests.contract.front.mesh import Mesh
from tests.free_ports import free_ports


async def test_a_front_process_serves_and_stops(mesh: Mesh) -> None:
    [port] = free_ports(1)
    environment = os.environ | {
        "TRUNKLINE_LISTEN": f"127.0.0.1:{port}",
        "TRUNKLINE_CONTROLLER": mesh.hosts.addresses[mesh.controller],
        "TRUNKLINE_TOKENIZER": mesh.hosts.addresses[mesh.tokenizer],
        "TRUNKLINE_MONITOR": "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.front", env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        other = Mesh(**vars(mesh) | {"channel": channel})
        await channel.channel_ready()
        await other.serving()
        assert (await other.generate()).text == "Oslo"
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log
