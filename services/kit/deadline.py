"""Deadlines: every call has one, and what remains of it travels on to the calls it makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any, Protocol

from services.kit.errors import DeadlineExceeded, Reason
from services.kit.handler import Context, Handler
from services.kit.rpc import Rpc


class Cancellable(Protocol):
    """A call that was begun."""

    def cancel(self) -> bool: ...  # noqa: D102 - as grpc.aio has it


class CallScope:
    """The server call being handled: until when, by which task, and which streams it opened."""

    __slots__ = ("_streams", "_task", "deadline")

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._task = asyncio.current_task()
        self._streams: list[Cancellable] = []

    def adopt(self, stream: Cancellable) -> None:
        """End `stream` with this call, if the handler's own task opened it and not one that it started."""
        if asyncio.current_task() is self._task:
            self._streams.append(stream)

    def close(self) -> None:
        """Cancel the streams still open: grpc.aio leaves one running when its reader just goes away."""
        for stream in self._streams:
            stream.cancel()


_SCOPE: ContextVar[CallScope | None] = ContextVar("trunkline_call", default=None)


def deadline_left() -> float | None:
    """Return the seconds left to the server call being handled, 0 at least; None: no call, or no deadline.

    A task inherits the deadline of the call that started it. Work that outlives the call, such as a batch
    shared by several, starts in a context of its own: `create_task(…, context=contextvars.Context())`.
    """
    scope = _SCOPE.get()
    if scope is None or scope.deadline is None:
        return None
    return max(0.0, scope.deadline - monotonic())


def current_scope() -> CallScope | None:
    """Return the server call being handled, None outside of one."""
    return _SCOPE.get()


def within_deadline(rpc: Rpc, handler: Handler) -> Handler:
    """End a call at its caller's deadline, or at the default of its kind, with DEADLINE_EXCEEDED."""
    default = rpc.default_timeout_s

    async def handle(request: Any, context: Context) -> bytes | None:
        left = context.time_remaining()
        if left is None:
            left = default
        scope = CallScope(None if left is None else monotonic() + left)
        _SCOPE.set(scope)
        try:
            return await (
                handler(request, context) if left is None else _limited(handler, request, context, left)
            )
        finally:
            scope.close()

    return handle


async def _limited(handler: Handler, request: Any, context: Context, left: float) -> bytes | None:
    try:
        async with asyncio.timeout(left) as limit:
            return await handler(request, context)
    except TimeoutError:
        if not limit.expired():
            raise  # the handler's own: a fault like any other
        raise DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline has passed") from None


def timeout_for(rpc: Rpc) -> Callable[[float | None], float | None]:
    """Return what chooses a call's timeout: the one asked for, else the default; at most what is left."""
    default = rpc.default_timeout_s

    def choose(asked: float | None) -> float | None:
        timeout = default if asked is None else asked
        left = deadline_left()
        if left is None:
            return timeout
        return left if timeout is None else min(timeout, left)

    return choose
