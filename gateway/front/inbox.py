"""Where one call waits for its worker: what comes meanwhile is taken as one, and silence has a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.front.calls import TokenDelta
from gateway.front.session_stream import Outcome
from services.kit.errors import Reason, TrunklineError, Unavailable


class Inbox:
    """The reader of one request.

    `stall_limit` is the seconds that may pass, once a first token has come, while the call waits for the next
    one. The time that its caller takes to read is not counted, and a token costs no timer: one is set for the
    limit's end, and looks then at how long the silence has been.
    """

    __slots__ = ("_ids", "_limit", "_logprobs", "_loop", "_outcome", "_since", "_timer", "_waiter")

    def __init__(self, stall_limit: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = stall_limit
        self._ids: list[int] = []
        self._logprobs: list[Any] = []
        self._outcome: Outcome | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def made(self, ids: list[int]) -> None:
        """Keep new tokens."""
        self._ids += ids
        self._wake()

    def weighed(self, logprobs: Sequence[Any]) -> None:
        """Keep the log probabilities of the tokens that came just before."""
        self._logprobs += logprobs

    def ended(self, outcome: Outcome) -> None:
        """Keep the last word."""
        self._outcome = outcome
        self._wake()

    async def take(self) -> TokenDelta | Outcome:
        """Return the tokens that came since the last call, as one, and after them the last word.

        Raises the request's error, and Unavailable (STREAM_STALLED).
        """
        while not self._ids and self._outcome is None:
            await self._something()
        if self._ids:
            delta = TokenDelta(self._ids, self._logprobs)
            self._ids, self._logprobs = [], []
            if self._timer is None:
                self._timer = self._loop.call_later(self._limit, self._look)
            return delta
        if isinstance(self._outcome, TrunklineError):
            raise self._outcome
        assert self._outcome is not None  # noqa: S101 - what ended the loop above
        return self._outcome

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    async def _something(self) -> None:
        self._since = self._loop.time()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        now = self._loop.time()
        waited = now - self._since if self._waiter is not None else 0.0
        if waited < self._limit:
            self._timer = self._loop.call_at(now + self._limit - waited, self._look)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._stalled())

    def _stalled(self) -> Unavailable:
        seconds = f"{self._limit:g}"
        return Unavailable(
            Reason.STREAM_STALLED,
            f"the worker has sent no token for {seconds} s",
            metadata={"seconds": seconds},
        )
