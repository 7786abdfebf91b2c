"""Runs the conversion of weights in a process of its own, which ends with this one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.kit.child import SupervisedChild

_MODULE = "services.inference_worker.engine.conversion"


class Converter:
    """Converts for threads; the processes belong to the event loop in which this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._children: set[SupervisedChild] = set()

    def convert(self, source: Path, into: Path, dtype: str) -> None:
        """Fill `into` from the GGUF file in `source`. Blocks its thread; raises ValueError when it fails."""
        running = asyncio.run_coroutine_threadsafe(self._run(source, into, dtype), self._loop)
        status = running.result()
        if status != 0:
            raise ValueError(f"the conversion to {dtype} ended with status {status}; the log has its cause")

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(child.stop() for child in self._children))

    async def _run(self, source: Path, into: Path, dtype: str) -> int:
        statuses: list[int] = []
        child = SupervisedChild(
            f"conversion to {dtype}",
            [sys.executable, "-m", _MODULE, str(source), str(into), dtype],
            env={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
            restart=False,
            grace=2.0,
            on_exit=statuses.append,
        )
        self._children.add(child)
        try:
            await child.start()
            await child.wait()
        finally:
            self._children.discard(child)
        return statuses[0]
