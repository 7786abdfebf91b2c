"""One call, two workers at most: what fails before anything was sent is tried once more elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from gateway.front.calls import Ids, TokenCall, TokenDelta, TokenFinish, VectorCall, Vectors
from gateway.front.routes import Target
from gateway.front.workers import Worker, Workers
from services.kit.errors import ResourceExhausted, TrunklineError, Unavailable

TokenEvent = TokenDelta | TokenFinish


class WorkerCalls(Protocol):
    """What is asked of a worker, by its address."""

    def generate(self, address: str, call: TokenCall) -> AsyncGenerator[TokenEvent, None]:
        """Yield deltas and then one finish; closing the generator cancels the call."""
        ...

    async def embed(self, address: str, call: VectorCall) -> Vectors:
        """Return the vectors of the inputs."""
        ...


class Attempts:
    """Gives calls to workers."""

    def __init__(self, workers: Workers, calls: WorkerCalls) -> None:
        self._workers = workers
        self._calls = calls

    async def generate(self, target: Target, call: TokenCall) -> AsyncGenerator[TokenEvent, None]:
        """Yield what a worker makes. Closing the generator cancels the call there.

        A worker that is lost, or full, before its first token costs the caller nothing while another one is
        ready. Raises what the calls raise.
        """
        worker, begun, again = self._workers.pick(target, call.token_ids), False, False
        while True:
            try:
                async with aclosing(self._calls.generate(worker.address, call)) as events:
                    with worker.holding(len(call.token_ids) + call.sampling.max_tokens):
                        async for event in events:
                            begun = True
                            yield event
            except (Unavailable, ResourceExhausted) as error:
                if begun or again:
                    raise
                worker, again = self._another(target, call.token_ids, worker, error), True
            else:
                return

    async def embed(self, target: Target, call: VectorCall) -> Vectors:
        """Return the vectors of `call.inputs`, by another worker if the first one is lost or full."""
        worker = self._workers.pick(target, call.inputs[0])
        try:
            return await self._embed_on(worker, call)
        except (Unavailable, ResourceExhausted) as error:
            worker = self._another(target, call.inputs[0], worker, error)
        return await self._embed_on(worker, call)

    async def _embed_on(self, worker: Worker, call: VectorCall) -> Vectors:
        with worker.holding(sum(map(len, call.inputs))):
            return await self._calls.embed(worker.address, call)

    def _another(self, target: Target, ids: Ids, failed: Worker, error: TrunklineError) -> Worker:
        """Return another ready worker than `failed`; raises `error` where there is none."""
        if all(worker is failed for worker in self._workers.ready(target)):
            raise error
        return self._workers.pick(target, ids, besides={failed.address})
