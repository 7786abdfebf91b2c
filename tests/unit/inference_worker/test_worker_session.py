"""What is under way with an engine fails when the engine ends, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.inference_worker.session import Session
from services.inference_worker.wire import (
    LENGTH,
    Cancel,
    Command,
    Event,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    Output,
    Report,
    Sampling,
    Started,
    decode_command,
    encode,
)
from services.kit.errors import FailedPrecondition, Unavailable
from tests.eventually import eventually
from tests.unit.inference_worker.test_worker_mailbox import Box, opened

LOAD = LoadModel("m@1", "/nowhere", "generate", "float32")
LOADED = Loaded("m@1", 100, 512, 0, 1_000, 5)


class Engine:
    """The engine's end of the pipe, played by the test."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def say(self, *events: Event) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, b"".join(map(encode, events)))

    async def hear(self) -> Command:
        (length,) = LENGTH.unpack(await self._read(LENGTH.size))
        return decode_command(await self._read(length))

    async def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(self._connection, size - len(data))
        return data

    def die(self) -> None:
        self._connection.close()


@asynccontextmanager
async def session() -> AsyncIterator[tuple[Session, Engine, list[Event]]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    heard: list[Event] = []
    session = Session("cpu", ours, heard.append)
    running = asyncio.create_task(session.run())
    engine = Engine(theirs)
    async with asyncio.timeout(5):
        yield session, engine, heard
        engine.die()
        await running


async def heard_of(box: Box) -> bool:
    return bool(box.errors)


async def test_it_is_ready_once_the_engine_says_so():
    async with session() as (ours, engine, heard):
        assert not ours.ready
        await engine.say(Started(7))
        await ours.started
        assert ours.ready
        assert heard == [Started(7)]


async def test_an_engine_that_dies_before_it_is_up_is_told_to_who_waits():
    async with session() as (ours, engine, _):
        engine.die()
        with pytest.raises(Unavailable):
            await ours.started
        assert not ours.ready


async def test_a_load_is_answered_or_refused():
    async with session() as (ours, engine, _):
        await engine.say(Started(7))
        await ours.started
        loading = asyncio.create_task(ours.load(LOAD))
        assert await engine.hear() == LOAD
        await engine.say(LOADED)
        assert await loading == LOADED
        loading = asyncio.create_task(ours.load(LOAD))
        await engine.hear()
        await engine.say(LoadFailed("m@1", "ValueError: no"))
        with pytest.raises(FailedPrecondition) as failed:
            await loading
        assert failed.value.metadata == {"model": "m"}


async def test_everything_under_way_fails_when_the_engine_dies():
    async with session() as (ours, engine, _):
        await engine.say(Started(7))
        await ours.started
        (box,) = opened(ours.mailboxes, 1, model="m@1")
        ours.submit(Generate(1, "m@1", [3], Sampling(max_tokens=1), accepted=0.0))
        waiting = [
            asyncio.create_task(ours.load(LOAD)),
            asyncio.create_task(ours.unload("m@1")),
        ]
        for _ in range(3):
            await engine.hear()
        engine.die()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [getattr(error, "reason", error) for error in [*errors, *box.errors]] == ["ENGINE_LOST"] * 3
        with pytest.raises(Unavailable):
            ours.submit(Generate(2, "m@1", [3], Sampling(max_tokens=1), accepted=0.0))


async def test_only_what_is_not_answered_yet_is_cancelled():
    async with session() as (ours, engine, _):
        await engine.say(Started(7))
        await ours.started
        answered, _left = opened(ours.mailboxes, 1, 2, model="m@1")
        await engine.say(Report("m@1", 1, Load(), [Output(1, failure="deadline")]), LOADED)
        await eventually(lambda: heard_of(answered), within=30)
        ours.cancel(1)
        ours.cancel(2)
        assert await engine.hear() == Cancel(2)


async def test_an_engine_that_talks_nonsense_is_left(caplog: pytest.LogCaptureFixture):
    async with session() as (ours, engine, _):
        (box,) = opened(ours.mailboxes, 1, model="m@1")
        await asyncio.get_running_loop().sock_sendall(engine._connection, LENGTH.pack(1) + b"\xc1")
        await eventually(lambda: heard_of(box), within=30)
        assert isinstance(box.errors[0], Unavailable)
