"""Where the processes of one run write: a folder a run, a file a process, the last runs kept."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Self

KEPT_RUNS = 10
TAIL_BYTES = 64 * 1024


class RunLogs:
    """The log files of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, state: Path) -> Self:
        """Make the folder of a new run below `state`, and remove those of runs long past."""
        runs = state / "runs"
        folder = runs / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
        folder.mkdir(parents=True)
        for old in sorted(runs.iterdir())[:-KEPT_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
        return cls(folder)

    def path(self, name: str) -> Path:
        """Return the file that the process called `name` writes to."""
        return self.folder / f"{name}.log"

    def tail(self, name: str, lines: int = 12) -> str:
        """Return the last lines that a process wrote, at most the last 64 KiB."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, self.path(name).stat().st_size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
