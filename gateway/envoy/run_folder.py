"""A folder for one run of the gateway, that nobody else can read and that does not outlive it for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "trunkline-gateway-"
LOCK = "lock"


@contextmanager
def run_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder in `parent` (default: the system's for temporary files), and remove it at the end.

    A run that was killed leaves its folder; the next one removes it, since nobody holds its lock any more.
    """
    root = parent or Path(tempfile.gettempdir())
    _sweep(root)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    with (path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _sweep(root: Path) -> None:
    for path in root.glob(f"{PREFIX}*"):
        try:
            if path.stat().st_uid == os.getuid() and _is_abandoned(path / LOCK):
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # another run was faster


def _is_abandoned(lock: Path) -> bool:
    """Tell whether the lock is there and free; a folder without one is just being made."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
