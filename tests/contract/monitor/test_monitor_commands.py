"""`trunkline status` and `trunkline trace` against a monitor, with nothing installed but the base."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from services.kit import semconv
from tests.contract.monitor.double_worker import DoubleWorker, running
from tests.contract.monitor.house import House, house, reporter
from tests.contract.monitor.test_monitor_traces import GENERATE, one_trace

BASE_ONLY = [sys.executable, "-m", "tests.unit.cli.base_install"]


def environment(address: str) -> dict[str, str]:
    own = {"TRUNKLINE_ADDRESS": address, "TRUNKLINE_OPERATOR_ADDRESS": address}
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"} | own


async def trunkline(address: str, *words: str) -> tuple[int, str, str]:
    """Run a command line with the base install alone; return its status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *BASE_ONLY, *words, env=environment(address), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def busy_house() -> AsyncIterator[House]:
    worker = DoubleWorker("box:9")
    worker.say(worker.loaded("small"))
    async with running(worker) as (_, port), house(workers=(f"127.0.0.1:{port}",)) as monitor:
        async with reporter(monitor.address, "front", "box:1") as process:
            process.meter.create_histogram(semconv.RPC_SERVER_CALL_DURATION, unit="s").record(
                0.1, {semconv.RPC_METHOD: GENERATE, semconv.RPC_RESPONSE_STATUS_CODE: "OK"}
            )
            await process.flush()
        await monitor.mesh_when(lambda mesh: bool(mesh.workers[0].status.models))
        yield monitor


async def test_status_prints_one_picture_into_a_pipe():
    async with busy_house() as monitor:
        for words in (["status"], ["status", "--once"]):
            status, out, err = await trunkline(monitor.address, *words)
            assert (status, err) == (0, "")
            assert "box:1" in out
            assert re.search(r"small +1 +127\.0\.0\.1:\d+ +ready", out)
            assert re.search(r"front +InferenceService/Generate +1 +0", out)


async def test_status_as_json_is_the_picture_of_get_mesh():
    async with busy_house() as monitor:
        status, out, _ = await trunkline(monitor.address, "status", "--json")
    mesh = json.loads(out)
    assert status == 0
    assert [each["service"] for each in mesh["services"]] == ["front", "monitor"]
    assert mesh["rpcs"][0]["rpc"] == GENERATE
    assert mesh["workers"][0]["status"]["models"][0]["state"] == "MODEL_STATE_READY"


async def test_status_on_a_terminal_lives_until_ctrl_c(tmp_path: Path):
    async with busy_house() as monitor:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *BASE_ONLY, "status", "--interval", "0.1", env=environment(monitor.address), stdout=theirs
        )
        os.close(theirs)
        seen = await asyncio.to_thread(read_until, ours, b"InferenceService/Generate", times=3)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            assert await process.wait() == 130
        os.close(ours)
    assert b"box:1" in seen


def read_until(file: int, word: bytes, times: int) -> bytes:
    seen = b""
    while seen.count(word) < times:
        seen += os.read(file, 65_536)
    return seen


async def test_trace_prints_the_tree_of_the_newest_inference(monitor: House):
    async with reporter(monitor.address, "front") as process:
        trace_id, batch_id = await one_trace(process)
    status, out, err = await trunkline(monitor.address, "trace")
    assert (status, err) == (0, "")
    assert trace_id in out.splitlines()[0]
    assert re.search(r"^InferenceService/Generate server +front", out, re.MULTILINE)
    assert re.search(r"^└─ batch\.wait too slow +front", out, re.MULTILINE)
    assert f"linked to {batch_id}" in out


async def test_a_trace_is_printed_by_its_id_and_as_json(monitor: House):
    async with reporter(monitor.address, "front") as process:
        _, batch_id = await one_trace(process)
    _, out, _ = await trunkline(monitor.address, "trace", batch_id, "--json")
    trace = json.loads(out)
    assert (trace["trace_id"], [span["name"] for span in trace["spans"]]) == (batch_id, ["batch.execute"])


async def test_traces_are_listed(monitor: House):
    _, out, _ = await trunkline(monitor.address, "trace", "--list")
    assert "No trace is here yet" in out
    async with reporter(monitor.address, "front") as process:
        trace_id, batch_id = await one_trace(process)
    _, out, _ = await trunkline(monitor.address, "trace", "--list")
    assert trace_id in out
    assert batch_id in out
    _, out, _ = await trunkline(monitor.address, "trace", "--list", "--count", "1", "--json")
    assert len(json.loads(out)["traces"]) == 1


async def test_a_trace_that_is_not_here_is_said_in_a_sentence(monitor: House):
    status, out, err = await trunkline(monitor.address, "trace", "ab" * 16)
    assert (status, out) == (1, "")
    assert err.startswith("Trace abab")
    assert err.count("\n") == 1


async def test_a_monitor_that_is_down_is_said_in_a_sentence():
    gateway = grpc.aio.server()
    gateway.add_generic_rpc_handlers((Unavailable(),))
    port = gateway.add_insecure_port("127.0.0.1:0")
    await gateway.start()
    try:
        for words in (["status", "--once"], ["trace"]):
            status, out, err = await trunkline(f"127.0.0.1:{port}", *words)
            assert (status, out) == (1, "")
            assert err.startswith("The monitor does not answer")
            assert err.count("\n") == 1
    finally:
        await gateway.stop(None)


class Unavailable(grpc.GenericRpcHandler):
    """A gateway that reaches no monitor."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def refuse(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no healthy upstream")

        return grpc.unary_unary_rpc_method_handler(refuse)
