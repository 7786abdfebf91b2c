"""Runs the making of weights in processes of their own, which end with this one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from services.inference_worker.engine.native.packing import NO_PROGRAM
from services.kit.child import SupervisedChild

_ENGINE = "services.inference_worker.engine"
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
_LOOK_S = 0.2

Grown = Callable[[int], None]
"""Told how many bytes there are by now."""


class NotAdapted(Exception):  # noqa: N818 - no fault: another runner serves the model
    """The model is none that the native runner knows."""


class Converter:
    """Works for threads; the processes belong to the event loop in which this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._children: set[SupervisedChild] = set()

    def convert(self, source: Path, into: Path, dtype: str, grown: Grown) -> None:
        """Fill `into` with safetensors of the GGUF file in `source`.

        Blocks its thread; raises ValueError when it fails.
        """
        self._done(f"conversion to {dtype}", ("conversion", str(source), str(into), dtype), into, grown)

    def pack(self, source: Path, into: Path, precision: str, task: str, grown: Grown) -> None:
        """Fill `into` with what the native runner maps, of the files in `source`.

        Blocks its thread; raises NotAdapted, and ValueError when it fails.
        """
        command = ("native.packing", str(source), str(into), precision, task)
        self._done(f"packing as {precision}", command, into, grown)

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(child.stop() for child in self._children))

    def _done(self, name: str, command: tuple[str, ...], into: Path, grown: Grown) -> None:
        running = asyncio.run_coroutine_threadsafe(self._run(name, command, into, grown), self._loop)
        status = running.result()
        if status == NO_PROGRAM:
            raise NotAdapted
        if status != 0:
            raise ValueError(f"the {name} ended with status {status}; the log has its cause")

    async def _run(self, name: str, command: tuple[str, ...], into: Path, grown: Grown) -> int:
        module, *arguments = command
        statuses: list[int] = []
        child = SupervisedChild(
            name,
            [sys.executable, "-m", f"{_ENGINE}.{module}", *arguments],
            env=_ENVIRONMENT,
            restart=False,
            grace=2.0,
            on_exit=statuses.append,
        )
        self._children.add(child)
        try:
            await child.start()
            await _watched(child, into, grown)
        finally:
            self._children.discard(child)
        return statuses[0]


async def _watched(child: SupervisedChild, into: Path, grown: Grown) -> None:
    """Return when the child has ended; tell meanwhile how its folder grows."""
    ended = asyncio.create_task(child.wait())
    while not (await asyncio.wait([ended], timeout=_LOOK_S))[0]:
        grown(_size(into))


def _size(folder: Path) -> int:
    """Return the bytes on disk: a file may be given its length before its content."""
    try:
        return sum(file.stat().st_blocks * 512 for file in folder.iterdir())
    except OSError:
        return 0
