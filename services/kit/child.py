"""A child process that is restarted when it ends, stopped in order, and killed when its parent dies."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from services.kit.launcher import CORES

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
STEADY_S = 10.0
"""A child that lived this long is restarted after FIRST_DELAY_S again."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """What one start runs."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Set over this process's own environment."""
    pass_fds: Sequence[int] = ()
    cores: Sequence[int] = ()
    """What it may run on; none named: whatever this process may."""


class SupervisedChild:
    """One child process, with a session of its own, so that Ctrl-C reaches only its parent.

    `command` is the command line, or a function that makes the Launch of each start (a socketpair is new each
    time). `on_start` gets the pid, `on_exit` the exit status (negative: the signal); both are called in the
    event loop. `before_stop` runs before SIGTERM is sent, to drain what a signal would cut.

    The kernel kills the child when the *thread* that started it ends, so start it from the main thread.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str] | Callable[[], Launch],
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        restart: bool = True,
        grace: float = 10.0,
        before_stop: Callable[[], Awaitable[None]] | None = None,
        on_start: Callable[[int], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._launch = command if callable(command) else _always(Launch(tuple(command), env or {}, pass_fds))
        self._keeps_alive = restart
        self._grace = grace
        self._before_stop = before_stop
        self._on_start = on_start
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._ending: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = False
        self._skip_delay = asyncio.Event()
        self._started = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child and watch over it. Raises RuntimeError outside of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child dies with the thread that started it: start it from the main one")
        if self._supervisor is not None and not self._supervisor.done():
            raise RuntimeError(f"{self.name} was started already")
        self._stopping = False
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")

    async def wait(self) -> None:
        """Return when the child has ended and will not be started again."""
        if self._supervisor is not None:
            await asyncio.wait([self._supervisor])

    async def stop(self) -> None:
        """Stop the child for good: `before_stop`, SIGTERM, SIGKILL to its session after `grace` seconds."""
        self._stopping = True
        self._skip_delay.set()
        await self._terminate()
        await self.wait()

    async def restart(self) -> None:
        """Stop the child as `stop` does and start it at once; return when it is started."""
        if self._supervisor is None or self._supervisor.done():
            await self.start()
            return
        self._started.clear()
        self._skip_delay.set()
        await self._terminate()
        await self._started.wait()

    async def _supervise(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            began = monotonic()
            if self._stopping:  # `stop` came while the process was being made
                await self._terminate()
            await self._watch()
            if self._stopping or not (self._keeps_alive or self._skip_delay.is_set()):
                return
            delay = FIRST_DELAY_S if monotonic() - began >= STEADY_S else delay
            delay = await self._pause(delay)
            if self._stopping:
                return
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:
                _LOGGER.warning("%s cannot be started: %s", self.name, error)

    async def _watch(self) -> None:
        """Return when the child has ended."""
        if self._process is None:
            return
        code = await self._process.wait()
        expected = self._stopping or self._skip_delay.is_set()
        level = logging.INFO if expected else logging.WARNING
        _LOGGER.log(level, "%s ended", self.name, extra={"exit_status": code})
        self._process = None
        self._tell(self._on_exit, code)

    async def _pause(self, delay: float) -> float:
        """Wait before a start, not at all where `restart` asked for it; return the next delay."""
        try:
            async with asyncio.timeout(delay):
                await self._skip_delay.wait()
        except TimeoutError:
            return min(2 * delay, LONGEST_DELAY_S)
        if not self._stopping:
            self._skip_delay.clear()
        return FIRST_DELAY_S

    async def _spawn(self) -> None:
        launch = self._launch()
        cores = (f"{CORES}{','.join(map(str, launch.cores))}",) if launch.cores else ()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *cores, *launch.command),
            env={**os.environ, **launch.env},
            pass_fds=tuple(launch.pass_fds),
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
        )
        _LOGGER.info("%s started", self.name, extra={"child_pid": self._process.pid})
        self._started.set()
        self._tell(self._on_start, self._process.pid)

    def _tell(self, callback: Callable[[int], None] | None, value: int) -> None:
        try:
            if callback:
                callback(value)
        except Exception:
            _LOGGER.exception("a callback of %s failed", self.name)

    async def _terminate(self) -> None:
        process = self._process
        if process is None or process is self._ending:
            return
        self._ending = process
        if self._before_stop:
            try:
                await self._before_stop()
            except Exception:
                _LOGGER.exception("what runs before stopping %s failed", self.name)
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace):
                await process.wait()
        except TimeoutError:
            _LOGGER.warning("%s did not stop in time and is killed", self.name)
            _signal(process, signal.SIGKILL)
            await process.wait()


def _always(launch: Launch) -> Callable[[], Launch]:
    return lambda: launch


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal the child; SIGKILL also reaches what it started in its session."""
    if process.returncode is not None:
        return
    try:
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        return
