"""The rpcs of events: the write path."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from trunkline.recommender.v1 import events_pb2 as pb

from services.recommender.messages.events import ReadEvents, acknowledged, read_events, recorded, write_mode
from services.recommender.service.domain import Rpcs
from services.recommender.store.event_log import Appended, WriteMode

AHEAD = 16
"""Messages of one stream that may wait for the disk: enough for a commit while another is written."""

Begun = tuple["asyncio.Task[Appended]", list[pb.RejectedEvent]]


class _Line:
    """Messages on their way to the disk, in the order of their stream; `None` is the last."""

    def __init__(self) -> None:
        self._begun: asyncio.Queue[Begun | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(AHEAD)

    async def room(self) -> None:
        """Return when another message may be begun."""
        await self._room.acquire()

    def add(self, begun: Begun) -> None:
        self._begun.put_nowait(begun)

    def end(self) -> None:
        self._begun.put_nowait(None)

    async def next(self) -> Begun | None:
        """Return the oldest message that is not acknowledged; None at the end."""
        self._room.release()
        return await self._begun.get()

    def leave(self) -> None:
        """Await nothing any more: what has not been begun by the disk is dropped."""
        while not self._begun.empty():
            begun = self._begun.get_nowait()
            if begun is not None:
                begun[0].cancel()


class EventRpcs(Rpcs):
    """Events: recorded in one message, or in a stream of acknowledged ones."""

    async def RecordEvents(self, request: pb.RecordEventsRequest, _context: Any) -> pb.RecordEventsResponse:
        """Record events."""
        mode = write_mode(request.write_mode)
        read = read_events(request.events, self._clock())
        return recorded(await self._append(read, mode), read.rejected)

    async def StreamEvents(
        self, requests: AsyncIterator[pb.StreamEventsRequest], _context: Any
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Record a stream of events; the next messages are read while a commit is awaited."""
        line = _Line()
        reader = asyncio.create_task(self._begin_each(requests, line), name="events of a stream")
        try:
            while (each := await line.next()) is not None:
                appending, rejected = each
                yield acknowledged(await appending, rejected)
            await reader
        finally:
            reader.cancel()
            line.leave()
            await asyncio.gather(reader, return_exceptions=True)

    async def _begin_each(self, requests: AsyncIterator[pb.StreamEventsRequest], line: _Line) -> None:
        """Begin to store each message's events, in order."""
        try:
            async for request in requests:
                mode = write_mode(request.write_mode)
                read = read_events(request.events, self._clock(), low=0)
                await line.room()
                line.add((asyncio.create_task(self._append(read, mode), name="append"), read.rejected))
        finally:
            line.end()

    async def _append(self, read: ReadEvents, mode: WriteMode) -> Appended:
        if not read.events:
            return Appended(self._store.log.sequence, 0, 0)
        return await self._store.log.append(read.events, mode)
