"""Batching without waiting: what arrives while a batch runs is the next batch. No timer, no added latency."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from opentelemetry.trace import Link, SpanContext, Tracer, get_current_span

from services.kit import semconv
from services.kit.errors import Reason, ResourceExhausted, Unavailable

J = TypeVar("J")
R = TypeVar("R")
Abandoned = Callable[[], bool]

_RETRY_AFTER_S = 0.2


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait for one tokenizer, and how much goes into one batch; sizes are in characters."""

    calls: int = 1_024
    characters: int = 256 << 20
    batch_characters: int = 1 << 20


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[J]):
    job: J
    size: int
    answer: asyncio.Future[Any]
    span: SpanContext


class Batcher(Generic[J, R]):
    """Runs jobs in batches on a thread, one batch at a time; a task of its own owns the queue.

    `run` gets the jobs of a batch and returns one outcome each, in order: a result, or the exception that
    this job alone fails with. It is also given what tells whether nobody waits any more, to be asked between
    one piece of the work and the next. Made inside a running event loop; `close` ends it.
    """

    def __init__(
        self,
        model: str,
        run: Callable[[Sequence[J], Abandoned], Sequence[R | BaseException]],
        *,
        limits: QueueLimits,
        executor: Executor,
        tracer: Tracer,
    ) -> None:
        self._model = model
        self._run = run
        self._limits = limits
        self._executor = executor
        self._tracer = tracer
        self._queue: deque[_Waiting[J]] = deque()
        self._queued_size = 0
        self._arrived = asyncio.Event()
        # A context of its own: a batch belongs to no single call, nor does its deadline.
        self._task = asyncio.create_task(self._serve(), name=f"batches of {model}", context=Context())

    async def submit(self, job: J, size: int) -> R:
        """Return the job's result; `size` is that of its text.

        Raises ResourceExhausted (QUEUE_FULL) at once when too much is waiting, Unavailable (DRAINING) when
        the batcher is closed, and what `run` gave for the job. A cancelled call's job is dropped; one
        that runs ends at the next piece of its work, if it is alone.
        """
        self._admit(size)
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(job, size, answer, get_current_span().get_span_context()))
        self._queued_size += size
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Refuse what waits and end the task; a batch that runs is left to its thread."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while self._queue:
            _fail(self._queue.popleft(), _closed())

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await self._execute(batch)

    def _admit(self, size: int) -> None:
        if self._task.done():
            raise _closed()
        if self._is_full(size):
            self._drop_abandoned()
        if self._is_full(size):
            message = f"{len(self._queue)} calls wait for the tokenizer of {self._model!r} already."
            metadata = {"model": self._model, "limit": str(self._limits.calls)}
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=metadata, retry_after=_RETRY_AFTER_S)

    def _is_full(self, size: int) -> bool:
        over = self._queued_size + size > self._limits.characters
        return len(self._queue) >= self._limits.calls or (over and bool(self._queue))

    def _drop_abandoned(self) -> None:
        self._queue = deque(each for each in self._queue if not each.answer.done())
        self._queued_size = sum(each.size for each in self._queue)

    def _take(self) -> list[_Waiting[J]]:
        """Take what waits and fits, oldest first, for the next batch; drop calls that ended meanwhile."""
        batch: list[_Waiting[J]] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].size <= self._limits.batch_characters):
            each = self._queue.popleft()
            self._queued_size -= each.size
            if not each.answer.done():
                batch.append(each)
                size += each.size
        if not self._queue:
            self._arrived.clear()
        return batch

    async def _execute(self, batch: list[_Waiting[J]]) -> None:
        try:
            with self._span(batch):
                outcomes = await self._outcomes([each.job for each in batch], partial(_abandoned, batch))
        except asyncio.CancelledError:
            for each in batch:
                _fail(each, _closed())
            raise
        for each, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _fail(each, outcome)
            elif not each.answer.done():
                each.answer.set_result(outcome)

    async def _outcomes(self, jobs: list[J], abandoned: Abandoned) -> Sequence[R | BaseException]:
        """Return one outcome a job; where `run` itself fails, each job is run alone: one is to blame."""
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._run, jobs, abandoned)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a panic in Rust arrives as a BaseException
            if len(jobs) == 1:
                failure = RuntimeError(f"a tokenizer failed: {error}")
                failure.__cause__ = error
                return [failure]
            return [outcome for job in jobs for outcome in await self._outcomes([job], abandoned)]

    @contextmanager
    def _span(self, batch: list[_Waiting[J]]) -> Iterator[None]:
        """Trace a batch that joins calls, with a link to each; a call alone is its own server span."""
        if len(batch) == 1:
            yield
            return
        attributes: dict[str, str | int] = {
            semconv.GEN_AI_REQUEST_MODEL: self._model,
            semconv.BATCH_SIZE: len(batch),
        }
        links = [Link(each.span) for each in batch if each.span.is_valid]
        with self._tracer.start_as_current_span(
            semconv.SPAN_BATCH_EXECUTE, links=links, attributes=attributes
        ):
            yield


def _abandoned(batch: Sequence[_Waiting[Any]]) -> bool:
    return all(each.answer.done() for each in batch)


def _fail(waiting: _Waiting[J], error: BaseException) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)


def _closed() -> Unavailable:
    return Unavailable(Reason.DRAINING, "The tokenizer is stopping.")
