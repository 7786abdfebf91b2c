"""Telling watchers that something is different: at once for a state, soon for a figure."""

from __future__ import annotations

import asyncio

FIGURES_S = 0.1
"""Figures change with every step; a watcher hears of them this often."""
LONGEST_S = 1.0
"""A watcher hears of something at least this often."""


Moment = tuple[asyncio.Event, int]


class Changes:
    """What many tasks wait for and anyone may announce."""

    def __init__(self) -> None:
        self._state = asyncio.Event()
        self._figures = 0

    def state(self) -> None:
        """Announce that something is what it was not: a model is ready, an engine has gone."""
        self._state, announced = asyncio.Event(), self._state
        announced.set()

    def figures(self) -> None:
        """Announce that a number has moved."""
        self._figures += 1

    def now(self) -> Moment:
        """Return the moment; take it before looking at what may change, so that nothing is missed."""
        return self._state, self._figures

    async def since(self, moment: Moment) -> None:
        """Return once a state has changed since `moment`, else when a figure has, else after LONGEST_S.

        Figures are looked at every FIGURES_S.
        """
        (state, figures), loop = moment, asyncio.get_running_loop()
        latest = loop.time() + LONGEST_S
        while loop.time() < latest and not state.is_set():
            try:
                async with asyncio.timeout(FIGURES_S):
                    await state.wait()
            except TimeoutError:
                if self._figures != figures:
                    return
