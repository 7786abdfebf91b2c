"""What stands between a front and a worker and can stop dead, as a process that was sent SIGSTOP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Freezer:
    """Passes bytes on, both ways, until `freeze`: from then on it keeps connections open and is silent."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    def freeze(self) -> None:
        self._thawed.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        theirs, ours = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, ours), (theirs, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._thawed.wait()
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def freezer(target: str) -> AsyncIterator[Freezer]:
    """Yield a freezer in front of `target`; dial its `address`."""
    found = Freezer(target)
    server = await asyncio.start_server(found.connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    found.address = f"{host}:{port}"
    try:
        yield found
    finally:
        server.close()
        found.close()
