"""Where the caller of one request waits: all that was made since the last look is taken as one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.inference_worker.under_way import Embeddings, Ending, Outcome
from services.inference_worker.wire import TokenLogprob
from services.kit.errors import TrunklineError


@dataclass(frozen=True, slots=True)
class Progress:
    """What was made since the last one; the last has the ending."""

    tokens: list[int]
    logprobs: list[TokenLogprob]
    ending: Ending | None


class Inbox:
    """The reader of one request. A slow caller costs the answer's own tokens, never more."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._outcome: Outcome | None = None
        self._arrived = asyncio.Event()

    def made(self, tokens: list[int], logprobs: list[TokenLogprob]) -> None:
        """Keep new tokens."""
        self._tokens += tokens
        self._logprobs += logprobs
        self._arrived.set()

    def ended(self, outcome: Outcome) -> None:
        """Keep the last word."""
        self._outcome = outcome
        self._arrived.set()

    async def take(self) -> Progress:
        """Return all that came since the last call, as one, once there is something; raises its error."""
        await self._arrived.wait()
        if self._outcome is None:
            self._arrived.clear()
        if isinstance(self._outcome, TrunklineError):
            raise self._outcome
        tokens, logprobs, ending = self._tokens, self._logprobs, self._outcome
        self._tokens, self._logprobs = [], []
        return Progress(tokens, logprobs, ending if isinstance(ending, Ending) else None)

    async def vectors(self) -> Embeddings:
        """Return the vectors once they are there; raises the request's error."""
        await self._arrived.wait()
        if isinstance(self._outcome, TrunklineError):
            raise self._outcome
        if not isinstance(self._outcome, Embeddings):
            raise TypeError("an engine has answered an Embed with tokens")
        return self._outcome
