"""Makes timings repeat: the same cores for all, ahead of other sessions' work, one contestant at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from services.kit.launcher import PR_SET_PDEATHSIG

CORES = 2
# Linux shares cores between sessions first and then within one, so `nice` alone does nothing against others.
AHEAD_OF_OTHERS = "-15"
BUSY = "while True: pass"


def claim() -> str:
    """Take this process and its children to be to the first cores, ahead of other sessions where we may.

    Returns in a sentence what was done. It leaves the terminal's session, where Ctrl-C is heard, so it ends
    as by Ctrl-C, with all that it has started, when its parent ends or SIGTERM comes.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    ahead = _ahead(os.getpid())
    return f"Everyone runs on the same {len(cores)} cores, in turns, and is halted while others run; " + (
        "all go before other sessions' work (autogroup -15)." if ahead else "other work is not kept off."
    )


def raise_family(processes: Sequence[psutil.Process]) -> None:
    """Put processes with sessions of their own ahead of other sessions too, where we may."""
    for process in processes:
        _ahead(process.pid)


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def halt(pid: int) -> None:
    """Stop a process and all below it where they stand: an idle contestant costs nothing."""
    _signal(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let a halted process and all below it go on."""
    _signal(pid, signal.SIGCONT)


@contextlib.contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Have `count` processes that compute without end, of no less right than we."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(0.5)  # they are there and warm
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _ahead(pid: int) -> bool:
    try:
        Path(f"/proc/{pid}/autogroup").write_text(AHEAD_OF_OTHERS)
    except OSError:
        return False
    return True
