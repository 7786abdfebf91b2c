"""How much memory the processes of a mesh keep, and whether it grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import psutil

from tests.e2e.harness import RunningMesh

PROCESSES = {
    "engine": "services.inference_worker.engine",
    "worker": "-m services.inference_worker",
    "front": "-m gateway.front",
}
PAUSE_SECONDS = 2.0


@dataclass
class Residence:
    """Resident megabytes of one process, and when they were read (seconds, monotonic)."""

    process: psutil.Process
    moments: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def read(self) -> None:
        self.moments.append(time.monotonic())
        self.megabytes.append(self.process.memory_info().rss / 1e6)

    def settled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return moments and megabytes without the first third, in which caches fill."""
        start = len(self.moments) // 3
        return np.array(self.moments[start:]), np.array(self.megabytes[start:])

    @property
    def growth(self) -> float:
        """Megabytes by which a straight line through the settled part rises."""
        moments, megabytes = self.settled()
        slope, _ = np.polyfit(moments - moments[0], megabytes, 1)
        return float(slope * (moments[-1] - moments[0]))

    @property
    def allowed(self) -> float:
        """Megabytes that it may rise by: what an allocator's pools do by themselves."""
        return 16 + 0.03 * float(self.settled()[1].mean())

    def __str__(self) -> str:
        first, last = self.megabytes[0], self.megabytes[-1]
        return (
            f"{first:.0f} MB at the start, {last:.0f} at the end; {self.growth:+.1f} in the last two thirds"
        )


@asynccontextmanager
async def resident(mesh: RunningMesh) -> AsyncIterator[dict[str, Residence]]:
    """Watch the processes that answers pass through while the context is open."""
    watched = {name: Residence(_process(mesh, words)) for name, words in PROCESSES.items()}

    async def watch() -> None:
        while True:
            for each in watched.values():
                each.read()
            await asyncio.sleep(PAUSE_SECONDS)

    task = asyncio.create_task(watch())
    try:
        yield watched
        for each in watched.values():
            each.read()
    finally:
        task.cancel()


def _process(mesh: RunningMesh, words: str) -> psutil.Process:
    """Return the process whose command line ends with `words`, or else holds them."""
    lines = {process: " ".join(process.cmdline()) for process in mesh.processes()}
    exact = [process for process, line in lines.items() if line.endswith(words)]
    return (exact or [process for process, line in lines.items() if words in line])[0]
