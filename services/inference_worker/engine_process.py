"""The engine process of a device: started again whenever it ends, with a new pipe each time."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Protocol

from services.inference_worker.devices import CPU, Device
from services.inference_worker.session import Session
from services.inference_worker.settings import EngineOptions
from services.inference_worker.watchdog import Watchdog
from services.inference_worker.wire import Event, Report, Started
from services.kit.child import Launch, SupervisedChild

MODULE = "services.inference_worker.engine"

_LOG = logging.getLogger(__name__)

# A spin of bounded length: with libgomp's default, two busy neighbours turned a step of 16 ms into 1,160 ms.
_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "2000",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


class EngineListener(Protocol):
    """Who is told what an engine does. Called in the event loop; must not block."""

    def engine_started(self, device: str) -> None:
        """Hear that it takes commands, and holds no models yet."""

    def engine_lost(self, device: str) -> None:
        """Hear that it has ended, and that all that was under way with it has failed."""

    def engine_reported(self, device: str, report: Report) -> None:
        """Hear of a step that it made."""


class EngineProcess:
    """Owns the process and the session with it."""

    def __init__(self, device: Device, options: EngineOptions, listener: EngineListener) -> None:
        self.device = device.name
        self._threads = options.threads or device.threads
        self._cores = options.cores if device.name == CPU else ()
        self._environment = {**_ENVIRONMENT, **device.environment}
        self._listener = listener
        self._child = SupervisedChild(
            f"engine {device.name}", self._launch, grace=2.0, on_start=self._spawned
        )
        self._theirs: socket.socket | None = None
        self._session: Session | None = None
        self._serving: asyncio.Task[None] | None = None
        self._launched = asyncio.Event()
        self._retired = False
        self._heard_events = 0
        self._watchdog = Watchdog(options.silence_s, self._owes, lambda: self._heard_events)
        self._watching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes commands now."""
        return self._session is not None and self._session.ready

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        return (self._child.pid or 0) if self._session else 0

    @property
    def restarts(self) -> int:
        """How often it was started anew."""
        return self._child.restarts

    @property
    def session(self) -> Session | None:
        """What is under way with it, None while it does not take commands."""
        return self._session if self.ready else None

    async def start(self) -> None:
        """Start it; it takes commands a moment later, and seconds where it imports torch."""
        await self._child.start()
        self._watching = asyncio.create_task(self._watchdog.watch(self._end_hang))

    async def available(self) -> Session:
        """Return the session once it takes commands; raises Unavailable (ENGINE_LOST) if it never does."""
        while self._session is None:
            await self._launched.wait()
        session = self._session
        await asyncio.shield(session.started)
        return session

    async def restart(self) -> None:
        """End it and start a new one, at once."""
        await self._child.restart()

    async def stop(self) -> None:
        """End it for good; what was under way has failed when this returns. The listener hears no more."""
        self._retired = True
        if self._watching is not None:
            self._watching.cancel()
        await self._child.stop()
        if self._serving is not None:
            await asyncio.wait([self._serving])

    def _launch(self) -> Launch:
        """Make a new pipe, and the command that gets its other end."""
        self._spawned(0)  # where the last start failed, its pipe ends here
        ours, self._theirs = socket.socketpair()
        session = Session(self.device, ours, self._heard)
        self._session = session
        self._launched.set()
        self._serving = asyncio.create_task(self._serve(session), name=f"serve engine {self.device}")
        pipe = self._theirs.fileno()
        kind = CPU if self.device == CPU else "cuda"
        return Launch(
            command=(sys.executable, "-m", MODULE, "--pipe", str(pipe), "--device", kind)
            + (("--threads", str(self._threads)) if self._threads else ()),
            env=self._environment,
            pass_fds=(pipe,),
            cores=self._cores,
        )

    def _spawned(self, _pid: int) -> None:
        """Close our copy of the engine's end: only so does the pipe end when the engine does."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    async def _serve(self, session: Session) -> None:
        await session.run()
        if self._session is session:  # and not one that was started meanwhile
            self._session = None
            self._launched.clear()
        if not self._retired:
            self._listener.engine_lost(self.device)

    def _owes(self) -> bool:
        return self._session is not None and self._session.mailboxes.waiting

    async def _end_hang(self) -> None:
        _LOG.error("the engine hangs: it owes answers and says nothing", extra={"device": self.device})
        await self._child.restart()

    def _heard(self, event: Event) -> None:
        self._heard_events += 1
        if isinstance(event, Started):
            self._listener.engine_started(self.device)
        elif isinstance(event, Report):
            self._listener.engine_reported(self.device, event)
