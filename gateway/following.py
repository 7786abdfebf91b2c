"""Following a stream that never ends: opened again whenever it breaks, and lost when it falls silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from services.kit.errors import TrunklineError

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0

_LOGGER = logging.getLogger(__name__)


class Follower(Generic[T]):
    """Hands each message of a stream to `receive`; calls `lost` when the stream has broken.

    `open_stream` raises a TrunklineError when the stream breaks. `silence` is the seconds without a message
    after which a stream that looks open is given up, None where a peer may be silent for ever. After a break
    the stream is opened again, after pauses that double.
    """

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], AsyncGenerator[T, None]],
        receive: Callable[[T], None],
        lost: Callable[[], None],
        *,
        silence: float | None = None,
    ) -> None:
        self._name = name
        self._open_stream = open_stream
        self._receive = receive
        self._lost = lost
        self._silence = silence
        self._pause = FIRST_PAUSE_S

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow_once()
            except (TrunklineError, TimeoutError) as error:
                _LOGGER.debug("%s broke", self._name, extra={"cause": repr(error)})
            except Exception:  # whoever follows must go on, whatever one message did to it
                _LOGGER.exception("%s could not be read", self._name)
            self._lost()
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    async def _follow_once(self) -> None:
        async with aclosing(self._open_stream()) as messages:
            while True:
                async with asyncio.timeout(self._silence):
                    message = await anext(messages, None)
                if message is None:
                    return
                self._receive(message)
                self._pause = FIRST_PAUSE_S
