"""Notices an engine that hangs: it owes answers, lives, and has said nothing for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LOOKS = 12
"""An engine hangs when so many looks in a row find it owing and silent."""


class Watchdog:
    """Looks at an engine LOOKS times in `limit_s` seconds.

    `owes` tells whether answers are due, `heard` how many messages there have been. Looks are counted, not
    seconds: when the worker itself was held up, messages wait that it has not read yet.
    """

    def __init__(self, limit_s: float, owes: Callable[[], bool], heard: Callable[[], int]) -> None:
        self._pause = limit_s / LOOKS
        self._owes = owes
        self._heard = heard
        self._last = -1
        self._silent = 0

    def look(self) -> bool:
        """Look once; return whether the engine hangs."""
        heard = self._heard()
        self._silent = self._silent + 1 if self._owes() and heard == self._last else 0
        self._last = heard
        return self._silent >= LOOKS

    async def watch(self, bark: Callable[[], Awaitable[None]]) -> None:
        """Look for ever; await `bark` whenever the engine hangs, and begin anew."""
        while True:
            await asyncio.sleep(self._pause)
            if self.look():
                self._silent = 0
                await bark()
