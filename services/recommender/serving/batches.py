"""Batching without waiting: requests that arrive while others are scored are scored together next. No timer.

A small batch is scored in the event loop, since handing it to a thread costs more than it; a large one on the
one scoring thread, where BLAS leaves the interpreter to the loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from services.kit.errors import Reason, ResourceExhausted, Unavailable

J = TypeVar("J")
R = TypeVar("R")
T = TypeVar("T")

MOST_WAITING = 4_096
MOST_TOGETHER = 256
_RETRY_AFTER_S = 0.2
_INLINE_S = 0.005
"""What the event loop may be held up by at once."""
_SWITCH_S = 0.0002
"""How long a thread that wants the interpreter waits for one that runs. By Python's default, 5 ms, each of
the twenty calls that score a batch could wait as long behind a busy event loop."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[J, R]):
    job: J
    answer: asyncio.Future[R]


class Batches(Generic[J, R]):
    """Answers jobs in batches, one after the other; a task of its own owns the queue.

    `run` gets a batch and returns an answer, or the exception that it alone fails with, for each. Made in a
    running event loop; `close` ends it.
    """

    def __init__(self, run: Callable[[Sequence[J]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._run = run
        self._queue: deque[_Waiting[J, R]] = deque()
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._serve(), name="scoring", context=Context())

    async def submit(self, job: J) -> R:
        """Return the job's answer.

        Raises ResourceExhausted (QUEUE_FULL) at once when too many wait, Unavailable (DRAINING) when closed.
        The job of a cancelled call is dropped if its batch has not begun.
        """
        if self._task.done():
            raise Unavailable(Reason.DRAINING, "The recommender is stopping.")
        if len(self._queue) >= MOST_WAITING:
            raise ResourceExhausted(
                Reason.QUEUE_FULL,
                f"{MOST_WAITING} requests wait to be scored already.",
                metadata={"limit": str(MOST_WAITING)},
                retry_after=_RETRY_AFTER_S,
            )
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(job, answer))
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """End the task and refuse what waits."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while self._queue:
            _settle(self._queue.popleft(), Unavailable(Reason.DRAINING, "The recommender is stopping."))

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(0)  # what the same turn of the loop has brought comes along
            batch = self._take()
            if batch:
                await self._answer(batch)

    def _take(self) -> list[_Waiting[J, R]]:
        batch: list[_Waiting[J, R]] = []
        while self._queue and len(batch) < MOST_TOGETHER:
            each = self._queue.popleft()
            if not each.answer.done():
                batch.append(each)
        if not self._queue:
            self._arrived.clear()
        return batch

    async def _answer(self, batch: list[_Waiting[J, R]]) -> None:
        try:
            outcomes = await self._run([each.job for each in batch])
        except asyncio.CancelledError:
            for each in batch:
                _settle(each, Unavailable(Reason.DRAINING, "The recommender is stopping."))
            raise
        except Exception as error:  # noqa: BLE001 - it is each caller's, whatever it is
            outcomes = [error] * len(batch)
        for each, outcome in zip(batch, outcomes, strict=True):
            _settle(each, outcome)


class ScoringThread:
    """Runs pure work in the event loop while it is short by experience, else on one thread."""

    def __init__(self) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._costs: dict[str, float] = {}

    async def run(self, kind: str, size: int, work: Callable[[], T]) -> T:
        """Return what `work` returns; works of one `kind` take time in proportion to their `size`."""
        expected = self._costs.get(kind, _INLINE_S) * size
        begun = perf_counter()
        if expected < _INLINE_S:
            result = work()
        else:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        took = (perf_counter() - begun) / max(size, 1)
        self._costs[kind] = took if kind not in self._costs else 0.8 * self._costs[kind] + 0.2 * took
        if len(self._costs) > 64:
            self._costs.pop(next(iter(self._costs)))
        return result

    def close(self) -> None:
        """End the thread; what runs is left to it."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _settle(waiting: _Waiting[J, R], outcome: R | Exception) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, Exception):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)
