from __future__ import annotations

import asyncio

import pytest

from tests.contract.kit.probe import KINDS, House, call, house, outcome


async def settled(one: House) -> None:
    async with asyncio.timeout(60):
        while one.probe.open:  # noqa: ASYNC110 - several calls, one condition
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_who_leaves_ends_the_handler(running: House, kind: str):
    task = asyncio.create_task(outcome(call(running.stub, kind, "hang")))
    async with asyncio.timeout(60):
        await running.probe.hanging.wait()
        task.cancel()
        await running.probe.left.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_that_is_broken_off_closes_its_generator(running: House):
    for _ in range(50):
        stream = call(running.stub, "ServerStream", "count 1000000")
        async for _message in stream:
            break
        stream.cancel()
    await settled(running)


async def test_a_relayed_stream_ends_upstream_however_its_reader_leaves(running: House):
    async with house(running.stub) as front:
        for messages in range(1, 51):
            stream = call(front.stub, "ServerStream", "relay")
            left = messages
            async for _message in stream:
                left -= 1
                if not left:
                    break
            stream.cancel()
        await settled(front)
        await settled(running)


async def test_an_answer_whose_caller_is_gone_is_nobodys_error(
    running: House, caplog: pytest.LogCaptureFixture
):
    stream = call(running.stub, "ServerStream", "count 1000000")
    await stream.read()
    await running.channels.close()
    await settled(running)
    assert caplog.records == []
