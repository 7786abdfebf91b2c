"""A stream is followed through breaks, silences and messages that cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway.following import Follower
from services.kit.errors import Reason, Unavailable


class Station:
    """Sends 1, 2, … one stream after the other; each stream ends in its own way."""

    def __init__(self, *ends: str) -> None:
        self._ends = iter(ends)
        self.heard: list[int | str] = []
        self.done = asyncio.Event()

    async def stream(self) -> AsyncGenerator[int, None]:
        end = next(self._ends, "last")
        yield 1
        if end == "breaks":
            raise Unavailable(Reason.SERVICE_UNAVAILABLE, "gone")
        if end == "silent":
            await asyncio.Event().wait()
        if end == "last":
            self.done.set()
            await asyncio.Event().wait()
        if end == "unreadable":
            yield 0

    def receive(self, number: int) -> None:
        self.heard.append(10 // number)

    def lost(self) -> None:
        self.heard.append("lost")


@pytest.mark.parametrize("end", ["breaks", "ends", "silent", "unreadable"])
async def test_a_stream_that_stops_is_opened_again(end: str, caplog: pytest.LogCaptureFixture) -> None:
    station = Station(end)
    follower = Follower(
        "a stream", station.stream, station.receive, station.lost, silence=0.02 if end == "silent" else None
    )
    task = asyncio.create_task(follower.run())
    async with asyncio.timeout(60):
        await station.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert station.heard[:3] == [10, "lost", 10]
