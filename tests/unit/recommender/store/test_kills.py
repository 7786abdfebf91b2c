"""A process that writes and is killed: what it was told to be stored is stored."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from services.recommender.store.store import RecommenderStore, StoreOptions

_ROOT = Path(__file__).parents[4]
_KILLS = 3


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(options: StoreOptions) -> None:
    acknowledged: set[str] = set()
    for turn in range(_KILLS):
        acknowledged |= await _killed(options.url, turn, after=5 + 3 * turn)
    async with await RecommenderStore.open(options) as store:
        stored = [each.event_id async for part in store.log.replay() for each in part.events]
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))
        assert store.log.sequence >= len(stored)


async def _killed(url: str, turn: int, *, after: int) -> set[str]:
    """Let a process write until so many messages are acknowledged, kill it, and return what was."""
    writer = Path(__file__).with_name("writer.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(writer), url, str(turn)),
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert process.stdout is not None
    heard = [await process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    lines = [each for each in (*heard, *rest) if each.endswith(b"\n")]
    assert len(lines) >= after
    return {each for line in lines for each in line.decode().split()}
