"""One stream to one worker, and everything that this front has under way on it."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc
from trunkline.worker.v1 import worker_pb2 as pb

from services.kit.errors import TrunklineError
from services.kit.status import from_status

_LOGGER = logging.getLogger(__name__)

# A message of more ids than this goes as it is, and what comes next goes in another: 64 MiB are the limit.
_IDS_OF_A_MESSAGE = 1 << 20

Outcome = pb.GenerateResponse.Finish | pb.EmbedResponse | TrunklineError


class Reader(Protocol):
    """Who is told what becomes of a request: in the event loop, once a step."""

    def made(self, ids: list[int]) -> None:
        """Take new tokens."""

    def weighed(self, logprobs: Sequence[Any]) -> None:
        """Take the log probabilities of the tokens that came just before."""

    def ended(self, outcome: Outcome) -> None:
        """Take the last word; it comes once."""


class SessionStream:
    """WorkerService.Session from its opening to its end, which ends all that is under way on it.

    `open_call` opens the call. It is done in a task and a context of their own: the stream outlives the call
    that needed it first. What is submitted while a message is being written goes in the next one, together.
    """

    def __init__(self, open_call: Callable[[], Any], lost: Callable[[], TrunklineError]) -> None:
        self._open_call = open_call
        self._lost = lost
        self._ids = itertools.count(1)
        self._readers: dict[int, Reader] = {}
        self._outbox: deque[pb.SessionRequest] = deque()
        self._ids_in_last = 0
        self._wanted = asyncio.Event()
        self._running = asyncio.create_task(self._run(), context=contextvars.Context())
        self._running.add_done_callback(self._end)

    @property
    def open(self) -> bool:
        """Whether it takes requests."""
        return not self._running.done()

    def submit(self, reader: Reader, tokens: int) -> pb.SessionSubmit:
        """Return a request to fill in before the next await; it goes out with what else waits.

        `tokens` is how many ids it will hold. Its `id` is what `leave` takes.
        """
        message = self._last(tokens)
        request_id = next(self._ids)
        self._readers[request_id] = reader
        return message.submits.add(id=request_id)

    def leave(self, request_id: int) -> None:
        """Cancel a request, unless it has ended."""
        if self._readers.pop(request_id, None) is not None:
            self._last(0).cancels.append(request_id)

    async def close(self) -> None:
        """End the stream and what is under way on it."""
        self._running.cancel()
        await asyncio.wait([self._running])

    def _last(self, tokens: int) -> pb.SessionRequest:
        """Return the message that goes out last, with room for `tokens`."""
        if not self._outbox or self._ids_in_last + tokens > _IDS_OF_A_MESSAGE:
            self._outbox.append(pb.SessionRequest())
            self._ids_in_last = 0
        self._ids_in_last += tokens
        self._wanted.set()
        return self._outbox[-1]

    async def _run(self) -> None:
        call = self._open_call()
        writing = asyncio.create_task(self._write(call))
        try:
            async for response in call:
                self._take(response)
        finally:
            writing.cancel()
            call.cancel()

    def _end(self, ended: asyncio.Task[None]) -> None:
        error = self._lost()
        cause = None if ended.cancelled() else ended.exception()
        if cause is not None and not isinstance(cause, grpc.aio.AioRpcError):
            _LOGGER.error("a session broke by a fault of ours", exc_info=cause)
        error.__cause__ = cause
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.ended(error)

    async def _write(self, call: Any) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._outbox:
                try:
                    await call.write(self._outbox.popleft())
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    return  # who reads hears why

    def _take(self, response: pb.SessionResponse) -> None:
        """Give everyone what is theirs. A worker's step for all sequences goes through here at once."""
        readers, tokens, start = self._readers, list(response.token_ids), 0
        for request_id, count in zip(response.ids, response.counts, strict=False):
            end = start + count
            reader = readers.get(request_id)
            if reader is not None:
                reader.made(tokens[start:end])
            start = end
        for found in response.logprobs:
            reader = readers.get(found.id)
            if reader is not None:
                reader.weighed(found.logprobs)
        for ending in response.endings:
            reader = readers.pop(ending.id, None)
            if reader is not None:
                reader.ended(self._outcome(ending))

    def _outcome(self, ending: pb.SessionEnding) -> Outcome:
        match ending.WhichOneof("outcome"):
            case "finish":
                return ending.finish
            case "embeddings":
                return ending.embeddings
            case "error":
                return from_status(ending.error)
        return self._lost()
