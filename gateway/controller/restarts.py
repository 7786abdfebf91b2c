"""Starting processes of the mesh anew, on an operator's order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass

from gateway.controller.board import Board
from gateway.controller.writes import check_request_id
from services.kit.errors import NotFound, Reason, invalid

ENGINE = "engine/"

Restart = Callable[[], Awaitable[None]]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestartOrder:
    """Which process: "envoy", "front/0" and so on, or "engine/" and a worker's address."""

    request_id: str
    target: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        if not self.target:
            raise invalid("target", "must not be empty")


class Restarts:
    """Restarts `children`, by target, in the background, and workers' engines by asking the worker."""

    def __init__(
        self, board: Board, children: Mapping[str, Restart], restart_engines: Callable[[str], Awaitable[None]]
    ) -> None:
        self._board = board
        self._children = children
        self._restart_engines = restart_engines
        self._running: set[asyncio.Task[None]] = set()

    async def restart(self, order: RestartOrder) -> None:
        """Start the process anew; return at once where it is a child of ours, which may carry this very call.

        Raises NotFound (PROCESS_NOT_FOUND), AlreadyExists (REQUEST_ID_REUSED) and Unavailable
        (WORKER_UNAVAILABLE).
        """
        if self._board.has_done(order):
            return
        if order.target.startswith(ENGINE):
            await self._restart_engine(order)
            await self._board.record(order)
            return
        restart = self._children.get(order.target)
        if restart is None:
            raise _unknown(order.target)
        await self._board.record(order)
        self._begin(order.target, restart)

    async def _restart_engine(self, order: RestartOrder) -> None:
        address = order.target.removeprefix(ENGINE)
        if self._board.table.worker(address) is None:
            raise _unknown(order.target)
        await self._restart_engines(address)

    def _begin(self, target: str, restart: Restart) -> None:
        async def run() -> None:
            _LOGGER.info("restarting on an operator's order", extra={"target": target})
            try:
                await restart()
            except Exception:
                _LOGGER.exception("the restart failed", extra={"target": target})

        # Not in the context of the call that ordered it: it outlives that.
        task = asyncio.create_task(run(), name=f"restart {target}", context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _unknown(target: str) -> NotFound:
    return NotFound(
        Reason.PROCESS_NOT_FOUND, f"no process of this mesh is called {target}", metadata={"target": target}
    )
