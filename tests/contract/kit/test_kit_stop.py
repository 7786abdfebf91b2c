from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.kit.errors import Reason
from services.kit.server import ListenError, Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import House, Stub, call, house, outcome

SERVING = """
import asyncio
from services.kit.server import Server
from services.kit.telemetry import Telemetry
from tests.contract.kit.probe import SERVICE, Probe, add_probe_to_server

async def main():
    server = Server("127.0.0.1:0", Telemetry.disabled(), grace={grace})
    server.add(SERVICE, add_probe_to_server, Probe())
    print(await server.start(), flush=True)
    await server.run()
    print("stopped", flush=True)

asyncio.run(main())
"""


async def serving(*, grace: float) -> tuple[asyncio.subprocess.Process, int]:
    """Start a probe in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVING.format(grace=grace), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


async def reason(started: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(started)
    return str(from_rpc_error(caught.value).reason)


async def test_an_open_watch_does_not_hold_the_stop():
    async with house(grace=100) as running:
        watch = call(running.stub, "WatchNothing", "")
        await watch.read()
        async with asyncio.timeout(50):
            await running.server.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
    assert from_rpc_error(caught.value).reason == Reason.DRAINING


async def test_a_call_in_flight_finishes_and_then_the_callbacks_run_in_order():
    order: list[str] = []

    async def record(name: str) -> None:
        order.append(name)

    async def fail() -> None:
        raise RuntimeError("a callback that fails keeps no other from running")

    async with house(grace=100) as one:
        for callback in (lambda: record("first"), fail, lambda: record("second")):
            one.server.on_stop(callback)
        stream = one.stub.Both()
        await stream.write(StringValue(value="before"))
        assert (await stream.read()).value == "before"
        stopping = asyncio.create_task(one.server.stop())
        await one.server.draining.wait()
        await stream.write(StringValue(value="while draining"))
        order.append((await stream.read()).value)
        await stream.done_writing()
        await stopping
    assert order == ["while draining", "first", "second"]


async def test_a_call_that_outlives_the_grace_is_told_why(running: House):
    held = call(running.stub, "Unary", "hang")
    await running.probe.hanging.wait()
    told = asyncio.create_task(reason(held))
    await running.server.stop(grace=0.1)
    assert await told == Reason.DRAINING
    assert running.probe.open == 0


async def test_a_stopped_server_takes_no_calls(running: House):
    await running.server.stop()
    assert await reason(call(running.stub, "Unary", "echo")) == Reason.SERVICE_UNAVAILABLE


async def test_a_taken_port_is_one_sentence():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"{address} cannot be listened on: another process has it"):
            await Server(address, Telemetry.disabled()).start()


async def test_a_second_server_on_the_same_port_is_refused(running: House):
    with pytest.raises(ListenError):
        await Server(f"127.0.0.1:{running.port}", Telemetry.disabled()).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_in_order(number: signal.Signals):
    process, port = await serving(grace=60)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await outcome(call(Stub(channel), "Unary", "echo")) == ["echo"]
        process.send_signal(number)
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"stopped\n")


async def test_a_second_signal_skips_the_grace():
    process, port = await serving(grace=60)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        held = call(Stub(channel), "Unary", "hang", wait_for_ready=True)
        assert await outcome(call(Stub(channel), "Unary", "echo")) == ["echo"]
        watch = call(Stub(channel), "WatchNothing", "")
        await watch.read()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError):  # the watch ends: the first signal was taken
            await watch.read()
        told = asyncio.create_task(reason(held))
        async with asyncio.timeout(60):
            while not told.done():
                process.send_signal(signal.SIGTERM)
                await asyncio.wait([told], timeout=0.1)
            assert await told == Reason.DRAINING
            await process.communicate()
    assert process.returncode == 0


async def test_a_frozen_peer_is_found_within_seconds():
    process, port = await serving(grace=0.1)
    async with house() as client:
        stub = Stub(client.channels.to(f"127.0.0.1:{port}"))
        held = call(stub, "Unary", "hang")
        watch = call(stub, "WatchNothing", "")
        await watch.read()
        process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):  # 2.5 s on a machine with nothing else to do
                assert await reason(held) == Reason.SERVICE_UNAVAILABLE
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            await process.communicate()
