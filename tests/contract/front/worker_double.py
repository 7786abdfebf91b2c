"""A worker that answers by a script and counts what becomes of its calls."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from trunkline.inference.v1 import sampling_pb2
from trunkline.worker.v1 import worker_pb2
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceServicer

from services.kit.errors import TrunklineError
from services.kit.status import to_status
from tests.contract.front.tokenizer_double import DIGEST

CONTEXT = 512
DIMENSIONS = 4


Script = Callable[[worker_pb2.GenerateRequest], AsyncIterator[worker_pb2.GenerateResponse]]


def delta(text: str | bytes, *, logprobs: bool = False) -> worker_pb2.GenerateResponse:
    """Return the tokens of a text."""
    ids = list(text.encode() if isinstance(text, str) else text)
    found = [sampling_pb2.TokenLogprob(token_id=each, logprob=-0.5) for each in ids] if logprobs else []
    return worker_pb2.GenerateResponse(delta=worker_pb2.GenerateResponse.Delta(token_ids=ids, logprobs=found))


def finish(
    prompt: int = 0,
    made: int = 0,
    reason: sampling_pb2.FinishReason.ValueType = sampling_pb2.FINISH_REASON_STOP,
) -> worker_pb2.GenerateResponse:
    """Return the end of an answer."""
    usage = sampling_pb2.Usage(prompt_tokens=prompt, completion_tokens=made, cached_tokens=3)
    timings = sampling_pb2.Timings()
    timings.prefill.FromMilliseconds(7)
    end = worker_pb2.GenerateResponse.Finish(reason=reason, usage=usage, timings=timings)
    return worker_pb2.GenerateResponse(finish=end)


def says(*pieces: str | bytes) -> Script:
    """Return a script that sends a delta a piece, then finishes."""

    async def script(request: worker_pb2.GenerateRequest) -> AsyncIterator[worker_pb2.GenerateResponse]:
        made = 0
        for piece in pieces:
            made += len(piece.encode() if isinstance(piece, str) else piece)
            yield delta(piece, logprobs=request.sampling.HasField("logprobs"))
        yield finish(len(request.token_ids), made)

    return script


def raises(error: Exception, *before: str) -> Script:
    """Return a script that sends `before` and then fails."""

    async def script(_request: worker_pb2.GenerateRequest) -> AsyncIterator[worker_pb2.GenerateResponse]:
        for piece in before:
            yield delta(piece)
        raise error

    return script


def hangs(*before: str) -> Script:
    """Return a script that sends `before` and then nothing more."""

    async def script(_request: worker_pb2.GenerateRequest) -> AsyncIterator[worker_pb2.GenerateResponse]:
        for piece in before:
            yield delta(piece)
        await asyncio.Event().wait()

    return script


@dataclass
class Served:
    """A version of a model on a worker double."""

    model: str = "writer"
    version: str = "1"
    task: sampling_pb2.Task.ValueType = sampling_pb2.TASK_GENERATE
    state: worker_pb2.ModelState.ValueType = worker_pb2.MODEL_STATE_READY
    outstanding: int = 0
    vocabulary_size: int = 256
    defaults: worker_pb2.DefaultSampling = field(default_factory=worker_pb2.DefaultSampling)

    def status(self) -> worker_pb2.ModelStatus:
        return worker_pb2.ModelStatus(
            model=self.model,
            version=self.version,
            state=self.state,
            task=self.task,
            tokenizer_digest=DIGEST,
            context_length=CONTEXT,
            vocabulary_size=self.vocabulary_size,
            dimensions=DIMENSIONS,
            default_sampling=self.defaults,
            load=worker_pb2.Load(outstanding_tokens=self.outstanding),
        )


WRITER, EMBEDDER = Served(), Served("embedder", task=sampling_pb2.TASK_EMBED)


class WorkerDouble(WorkerServiceServicer):
    """Answers by its script, reports what it serves, and counts what becomes of its calls."""

    def __init__(self, script: Script | None = None, served: Sequence[Served] = (WRITER, EMBEDDER)) -> None:
        self.script = script or says("Oslo")
        self.embeds: list[worker_pb2.EmbedRequest] = []
        self.generates: list[worker_pb2.GenerateRequest] = []
        self.refusal: Exception | None = None
        self.time_left: float | None = None
        self.running = self.cancelled = 0
        self.draining = self.mute = False
        self.watchers = self.sessions = 0
        self.address = ""
        self._served = list(served)
        self._changed, self._reported = asyncio.Condition(), asyncio.Condition()

    async def Session(
        self, requests: AsyncIterator[worker_pb2.SessionRequest], _context: Any
    ) -> AsyncIterator[worker_pb2.SessionResponse]:
        self.sessions += 1
        answers: asyncio.Queue[worker_pb2.SessionResponse] = asyncio.Queue(maxsize=16)
        tasks: dict[int, asyncio.Task[None]] = {}
        reading = asyncio.create_task(self._read(requests, tasks, answers))
        try:
            while True:
                yield await answers.get()
        finally:
            for task in [reading, *tasks.values()]:
                task.cancel()

    async def _read(
        self,
        requests: AsyncIterator[worker_pb2.SessionRequest],
        tasks: dict[int, asyncio.Task[None]],
        answers: asyncio.Queue[worker_pb2.SessionResponse],
    ) -> None:
        async for message in requests:
            for submit in message.submits:
                tasks[submit.id] = asyncio.create_task(self._serve(submit, answers))
            for each in message.cancels:
                tasks[each].cancel()

    async def _serve(
        self, submit: worker_pb2.SessionSubmit, answers: asyncio.Queue[worker_pb2.SessionResponse]
    ) -> None:
        self.time_left = submit.timeout.ToNanoseconds() / 1e9 if submit.HasField("timeout") else None
        ending = worker_pb2.SessionEnding(id=submit.id)
        try:
            if submit.HasField("embed"):
                ending.embeddings.CopyFrom(self.embedded(submit.embed))
            else:
                async with aclosing(self._generated(submit.generate)) as made:
                    async for message in made:
                        if message.HasField("finish"):
                            ending.finish.CopyFrom(message.finish)
                        else:
                            await answers.put(_tokens(submit.id, message.delta))
        except TrunklineError as error:
            ending.error.CopyFrom(to_status(error))
        await answers.put(worker_pb2.SessionResponse(endings=[ending]))

    async def _generated(
        self, request: worker_pb2.GenerateRequest
    ) -> AsyncGenerator[worker_pb2.GenerateResponse, None]:
        self.generates.append(request)
        self.running += 1
        await self._tell()
        try:
            async for message in self.script(request):
                yield message
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            await self._tell()

    def embedded(self, request: worker_pb2.EmbedRequest) -> worker_pb2.EmbedResponse:
        self.embeds.append(request)
        if self.refusal:
            raise self.refusal
        size = request.dimensions if request.HasField("dimensions") else DIMENSIONS
        values = [float(len(each.ids) + place) for each in request.inputs for place in range(size)]
        return worker_pb2.EmbedResponse(
            values=_floats(values),
            dimensions=size,
            usage=sampling_pb2.Usage(prompt_tokens=sum(len(each.ids) for each in request.inputs)),
        )

    async def WatchStatus(
        self, _request: worker_pb2.WatchStatusRequest, _context: Any
    ) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        self.watchers += 1
        try:
            async for report in self._reports():
                yield report
        finally:
            self.watchers -= 1
            await self._tell()

    async def _reports(self) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        while not self.mute:
            yield worker_pb2.WatchStatusResponse(
                models=[each.status() for each in self._served], draining=self.draining
            )
            async with self._reported:
                await self._reported.wait()
        await asyncio.Event().wait()

    async def report(self, *served: Served, draining: bool = False) -> None:
        """Serve these from now on, and say so."""
        self._served, self.draining = list(served), draining
        async with self._reported:
            self._reported.notify_all()

    async def until(self, condition: Callable[[WorkerDouble], bool]) -> None:
        """Return when `condition` holds; raise TimeoutError after 5 s."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _tokens(request_id: int, delta: worker_pb2.GenerateResponse.Delta) -> worker_pb2.SessionResponse:
    logprobs = [worker_pb2.SessionLogprobs(id=request_id, logprobs=delta.logprobs)] if delta.logprobs else []
    return worker_pb2.SessionResponse(
        ids=[request_id], counts=[len(delta.token_ids)], token_ids=delta.token_ids, logprobs=logprobs
    )


def _floats(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<f", value) for value in values)
