"""Draining: calls in flight finish, watches end at once, what outlives the grace is told why it ends."""

from __future__ import annotations

import asyncio
from typing import Any

from services.kit.errors import Reason, Unavailable
from services.kit.handler import Context, Handler
from services.kit.rpc import Rpc

WATCH_GRACE_S = 0.25
"""How long a watch may take to end by itself once `draining` is set."""
UNWIND_S = 1.0
"""How long a call that was ended may take to clean up."""


class Drain:
    """The calls in flight of one server. `draining` is set when it begins to stop: watches end then."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()
        self._calls: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()

    def tracked(self, rpc: Rpc, handler: Handler) -> Handler:
        """Keep account of each call while it is handled."""
        tasks = self._watches if rpc.is_watch else self._calls

        async def handle(request: Any, context: Context) -> bytes | None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - grpc.aio runs every handler in a task
            if rpc.is_watch and self.draining.is_set():
                raise _draining()
            tasks.add(task)
            try:
                return await handler(request, context)
            except asyncio.CancelledError:
                if task not in self._ended:
                    raise
                task.uncancel()
                raise _draining() from None
            finally:
                tasks.discard(task)
                self._ended.discard(task)

        return handle

    async def finish(self, grace: float) -> None:
        """End watches now and other calls after `grace` seconds, with UNAVAILABLE; return when all ended."""
        self.draining.set()
        await asyncio.gather(
            self._end(self._watches, min(grace, WATCH_GRACE_S)),
            self._end(self._calls, grace),
        )

    def hurry(self) -> None:
        """End the calls in flight now, whatever is left of the grace."""
        self._cancel(self._calls)

    async def _end(self, tasks: set[asyncio.Task[Any]], grace: float) -> None:
        if tasks:
            await asyncio.wait(set(tasks), timeout=grace)
        self._cancel(tasks)
        if tasks:
            await asyncio.wait(set(tasks), timeout=UNWIND_S)

    def _cancel(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks - self._ended:
            self._ended.add(task)
            task.cancel()


def _draining() -> Unavailable:
    return Unavailable(Reason.DRAINING, "the process is stopping; call again, another one answers")
