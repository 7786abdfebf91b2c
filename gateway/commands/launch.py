"""One run of a mesh in the foreground: start, wait until it is ready, wait for a signal, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from time import monotonic

from gateway.commands.mesh import Mesh
from gateway.commands.plan import Part, UpSettings, check_ports, parts
from gateway.commands.readiness import until_loaded, until_ready
from gateway.commands.reporter import Reporter
from gateway.commands.run_logs import RunLogs

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_WORKER = "inference_worker"


async def launch(settings: UpSettings, reporter: Reporter, announce: Callable[[], None]) -> None:
    """Run the mesh until a signal; call `announce` once it is ready. A second signal ends it without grace.

    Raises CommandError when a port is taken, a process keeps ending or a model cannot be loaded; what was
    started is stopped again then.
    """
    planned = parts(settings)
    check_ports(planned)
    logs = RunLogs.begin(settings.state)
    logging.basicConfig(filename=logs.path("up"), level=logging.INFO, format=LOG_FORMAT)
    mesh = Mesh(planned, logs, reporter)
    stopped = _stop_on_signals()
    began = monotonic()
    reporter.say("starting", f"Starting the mesh; its logs are in {logs.folder}", logs=str(logs.folder))
    try:
        await mesh.start()
        if await _first(stopped.wait(), mesh.broken(), *_ready(settings, planned, reporter)) == 0:
            return
        reporter.close()
        _say_ready(settings, reporter, monotonic() - began)
        announce()
        await stopped.wait()
    finally:
        reporter.close()
        reporter.say("stopping", "Stopping: calls in flight may end, then each process does.")
        await mesh.stop()


def _ready(
    settings: UpSettings, planned: tuple[Part, ...], reporter: Reporter
) -> tuple[Awaitable[object], ...]:
    """Return what to wait for: the first to end is the mesh's readiness, or raises."""
    workers = [part.address for part in planned if part.entry == _WORKER]
    entries = {part.entry for part in planned}
    public = until_ready(dialled(settings.public), entries, settings.models, max(1, len(workers)))
    return (public, *(until_loaded(worker, reporter.model) for worker in workers))


def _say_ready(settings: UpSettings, reporter: Reporter, seconds: float) -> None:
    sentence = (
        f"Ready on {settings.public} after {seconds:.0f} s (operators on {settings.operators}). "
        'Try `trunkline generate "What is the capital of France?"`; Ctrl-C stops the mesh.'
    )
    fields = {"address": settings.public, "operators": settings.operators, "seconds": round(seconds, 1)}
    reporter.say("ready", sentence, **fields)


def dialled(listened: str) -> str:
    """Return where one dials what listens at `listened`, which may be every address of this machine."""
    host, _, port = listened.rpartition(":")
    return f"127.0.0.1:{port}" if host in {"0.0.0.0", "[::]"} else listened  # noqa: S104 - compared, not bound


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets; the second ends the process, and its children with it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopped.set()
        loop.remove_signal_handler(number)

    for number in SIGNALS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # under nohup it is
            loop.add_signal_handler(number, stop, number)
    return stopped


async def _first(*waits: Awaitable[object]) -> int:
    """Return which of `waits` ended first, or raise what it raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in tasks if task in done)
        ended.result()
        return tasks.index(ended)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
