"""The monitor as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import grpc
from trunkline.monitor.v1 import monitor_pb2 as pb
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

from tests.eventually import eventually
from tests.free_ports import free_ports


async def start(listen: int, http: int) -> asyncio.subprocess.Process:
    own = {
        "TRUNKLINE_LISTEN": f"127.0.0.1:{listen}",
        "TRUNKLINE_MONITOR": f"127.0.0.1:{listen}",
        "TRUNKLINE_METRICS_HTTP": f"127.0.0.1:{http}",
        "TRUNKLINE_TOKENIZER": "",
        "TRUNKLINE_RECOMMENDER": "",
        "TRUNKLINE_RL_POLICY": "",
        "TRUNKLINE_CONTROLLER": "",
        "TRUNKLINE_WORKERS": "",
        "TRUNKLINE_METRICS_INTERVAL_S": "0.1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.monitor", env=kept | own, stderr=subprocess.PIPE
    )


async def test_it_serves_sees_itself_refuses_a_second_one_and_stops_when_told():
    listen, http, other = free_ports(3)
    process = await start(listen, http)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{listen}") as channel:
            stub = MonitorServiceStub(channel)

            async def sees_itself() -> bool:
                answer = await stub.GetMesh(pb.GetMeshRequest(), wait_for_ready=True)
                return any(row.service == "monitor" and row.memory_bytes for row in answer.mesh.services)

            await eventually(sees_itself, within=60)
        for taken in ((listen, other), (other, http)):
            second = await start(*taken)
            _, said = await second.communicate()
            assert second.returncode == 1
            assert "cannot be listened on" in said.decode().splitlines()[-1]
            assert "Traceback" not in said.decode()
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert "Traceback" not in log.decode()
