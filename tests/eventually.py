"""Waiting for what another process does: ask again until it is so, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PAUSE_SECONDS = 0.05


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float) -> None:
    """Return when `condition` holds; raise TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - the event happens in another process
            await asyncio.sleep(PAUSE_SECONDS)
