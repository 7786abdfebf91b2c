"""Cancels, deadlines and slow readers reach the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.worker.v1.worker_pb2 import GenerateRequest, GenerateResponse

from tests.contract.front.mesh import Mesh, refusal
from tests.contract.front.worker_double import delta, hangs

REQUEST = pb.GenerateRequest(model="writer", prompt="a")


async def flood(_request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
    while True:
        yield delta("x" * 16)


@pytest.mark.parametrize("read", [0, 1, 3])
async def test_no_cancelled_call_stays_at_the_worker(mesh: Mesh, read: int) -> None:
    mesh.worker.script = hangs(*"abc")
    for _ in range(70):
        call = mesh.stub.Generate(REQUEST)
        for _ in range(read):
            await call.read()
        call.cancel()
    await mesh.worker.until(lambda worker: worker.running == 0)
    assert mesh.worker.cancelled == len(mesh.worker.generates)


async def test_no_call_cancelled_amid_a_flood_stays_at_the_worker(mesh: Mesh) -> None:
    mesh.worker.script = flood

    async def read_a_little(count: int) -> None:
        call = mesh.stub.Generate(REQUEST)
        for _ in range(count):
            await call.read()
        call.cancel()

    for count in range(1, 60, 4):
        await asyncio.gather(*(read_a_little(count) for _ in range(10)))
    await mesh.worker.until(lambda worker: worker.running == 0)


async def test_a_client_that_vanishes_frees_its_place(mesh: Mesh) -> None:
    mesh.worker.script = hangs("a")
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        call = channel.unary_stream(
            "/trunkline.inference.v1.InferenceService/Generate",
            request_serializer=pb.GenerateRequest.SerializeToString,
        )(REQUEST)
        await call.read()
    await mesh.worker.until(lambda worker: worker.cancelled == 1)


async def test_a_cancel_while_the_tokenizer_works_opens_no_call(mesh: Mesh) -> None:
    mesh.tokenizer.open.clear()
    call = mesh.stub.Generate(REQUEST)
    reading = asyncio.create_task(call.read())
    await mesh.tokenizer.called.wait()
    call.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    mesh.tokenizer.open.set()
    await mesh.generate()
    assert len(mesh.worker.generates) == 1


async def test_a_deadline_travels_on_as_what_remains_of_it(mesh: Mesh) -> None:
    async for _ in mesh.stub.Generate(REQUEST, timeout=20):
        pass
    assert mesh.worker.time_left is not None
    assert 10 < mesh.worker.time_left < 20.5


async def test_without_a_deadline_the_default_travels_on(mesh: Mesh) -> None:
    async for _ in mesh.stub.Generate(REQUEST):
        pass
    assert mesh.worker.time_left is not None
    assert 570 < mesh.worker.time_left < 610


@pytest.mark.parametrize("before", [(), ("a",)])
async def test_a_passed_deadline_frees_its_place(mesh: Mesh, before: tuple[str, ...]) -> None:
    mesh.worker.script = hangs(*before)
    seconds = 0.1
    while not mesh.worker.generates:  # on a slow machine a call may be over before the worker knows of it
        assert (await refusal(read(mesh.stub.Generate(REQUEST, timeout=seconds)))).code == "DEADLINE_EXCEEDED"
        seconds *= 2
    await mesh.worker.until(lambda worker: worker.running == 0)
    assert mesh.worker.cancelled == len(mesh.worker.generates)


async def read(call: AsyncIterator[object]) -> None:
    """Read a stream to its end."""
    async for _ in call:
        pass


async def test_a_reader_that_reads_nothing_holds_nobody_else_up(mesh: Mesh) -> None:
    """All calls to a worker share one stream, so a slow one must not stop it."""
    mesh.worker.script = flood
    slow = mesh.stub.Generate(REQUEST)
    await slow.read()
    quick = mesh.stub.Generate(REQUEST)
    for _ in range(200):
        assert (await quick.read()).delta.token_ids
    assert mesh.worker.sessions == 1
    for call in (slow, quick):
        call.cancel()
    await mesh.worker.until(lambda worker: worker.running == 0)
