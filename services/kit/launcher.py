"""Becomes a command that dies with its parent: `launcher.py PARENT_PID [--cores=0,2] COMMAND [ARGUMENT…]`.

The parent starts this file instead of running code between fork and exec, which is unsafe beside threads. It
imports nothing but the standard library and needs no site-packages.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CORES = "--cores="
"""Before the numbers of the cores that the command, with all its threads, may run on."""


def main(arguments: list[str]) -> int:
    """Exec the command; return an exit status only where that failed."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return 0  # the parent ended before the line above took hold
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        if command[0].startswith(CORES):
            os.sched_setaffinity(0, map(int, command.pop(0).removeprefix(CORES).split(",")))
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
