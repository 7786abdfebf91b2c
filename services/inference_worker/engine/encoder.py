"""An encoder at work: inputs of all waiting requests share batches.

Nothing waits for company: what is queued when the engine is free is taken (batch while busy).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Rows
from itertools import groupby
from time import monotonic

import numpy as np

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.deadlines import Deadlines
from services.inference_worker.engine.inputs import InputQueue, Inputs, Span
from services.inference_worker.engine.pooling import Dense, finish, pool
from services.inference_worker.engine.runner import DeviceLost, EncoderRunner
from services.inference_worker.wire import (
    Batch,
    Embed,
    Generate,
    Limits,
    Load,
    Output,
    Report,
    Timings,
    Vectors,
)

_LOG = logging.getLogger(__name__)


class _Request:
    """An Embed with the vectors it has so far."""

    __slots__ = ("asked", "missing", "started", "vectors")

    def __init__(self, asked: Embed) -> None:
        self.asked = asked
        self.missing = len(asked.inputs)
        self.started = 0.0
        self.vectors: Floats | None = None

    @property
    def wish(self) -> tuple[str, int, bool]:
        """What is asked of each vector."""
        return (self.asked.pooling, self.asked.dimensions, self.asked.normalize)

    def take(self, span: Span, vectors: Floats) -> None:
        """Keep the vectors of some of the inputs."""
        self.missing -= len(vectors)
        if len(vectors) == len(self.asked.inputs) == 1:
            self.vectors = vectors
            return
        if self.vectors is None:
            self.vectors = np.empty((len(self.asked.inputs), vectors.shape[1]), np.float32)
        self.vectors[span.order] = vectors

    def output(self, now: float) -> Output:
        """Return the whole answer: every vector is there."""
        values = np.asarray(self.vectors, "<f4").tobytes()
        return Output(self.asked.id, vectors=Vectors(values, Timings(self.started, now, now)))


class Encoder:
    """One loaded encoder, with the dense layers behind its pooling.

    `clock` gives the seconds in which deadlines and timings are.
    """

    def __init__(
        self,
        name: str,
        runner: EncoderRunner,
        limits: Limits,
        dense: Rows[Dense] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._runner = runner
        self._limits = limits
        self._dense = dense
        self._clock = clock
        self._requests: dict[int, _Request] = {}
        self._deadlines = Deadlines(self._requests)
        self._queue = InputQueue()
        self._steps = 0
        self._started = 0
        self._finished = 0
        self._changed = False

    @property
    def busy(self) -> bool:
        """True while a step would do or tell something."""
        return self._changed or bool(self._queue)

    def admit(self, request: Generate | Embed) -> None:
        """Queue a request, which the worker has checked against the model."""
        if not isinstance(request, Embed):
            raise TypeError("an encoder makes no tokens")
        self._requests[request.id] = _Request(request)
        self._queue.add(Inputs(request.id, request.inputs))
        self._deadlines.add(request.id, math.inf if request.deadline is None else request.deadline)

    def cancel(self, request_id: int) -> bool:
        """Forget a request; return whether it was here."""
        found = request_id in self._requests
        if found:
            self._forget([request_id])
            self._changed = True
        return found

    def step(self) -> Report:
        """Run one batch, and tell what came of it."""
        late = self._deadlines.passed(self._clock())
        self._forget(late)
        outputs, batch = [Output(key, failure="deadline") for key in late], None
        if self._queue:
            self._steps += 1
            spans = self._queue.take(self._limits.batch_tokens)
            try:
                batch, finished = self._run(spans)
                outputs += finished
            except DeviceLost:
                raise  # a new process must take over
            except Exception:  # noqa: BLE001 - whatever it was, other requests go on
                _LOG.exception("a batch of %s failed", self._name)
                failed = [span.inputs.request for span in spans]
                outputs += [Output(key, failure="fault") for key in failed]
                self._forget(failed)
        self._changed = False
        return Report(self._name, self._steps, self._load(), outputs, batch)

    def _run(self, spans: list[Span]) -> tuple[Batch, list[Output]]:
        started = self._clock()
        # Those that ask for the same stand together, to be pooled together.
        chosen = sorted(((self._requests[each.inputs.request], each) for each in spans), key=_wish)
        lengths = np.concatenate([span.lengths for _, span in chosen])
        states = self._runner.encode(np.concatenate([span.tokens for _, span in chosen]), lengths)
        self._share(chosen, lengths, states)
        ended = self._clock()
        for request, _ in chosen:
            self._started += not request.started
            request.started = request.started or started
        outputs = [request.output(ended) for request, _ in chosen if not request.missing]
        self._forget([output.id for output in outputs])
        self._finished += len(outputs)
        ids = [span.inputs.request for span in spans]
        return Batch(ids, len(lengths), len(states), started, ended), outputs

    def _share(self, chosen: list[tuple[_Request, Span]], lengths: Ints, states: Floats) -> None:
        """Give each request the vectors of its inputs."""
        first = row = 0
        for _, alike in groupby(chosen, _wish):
            group = list(alike)
            last = first + sum(span.last - span.first for _, span in group)
            end = row + int(lengths[first:last].sum())
            vectors = self._vectors(states[row:end], lengths[first:last], group[0][0].asked)
            _deal(group, vectors)
            first, row = last, end

    def _vectors(self, states: Floats, lengths: Ints, asked: Embed) -> Floats:
        pooled = pool(states, lengths, asked.pooling)
        return finish(pooled, self._dense, asked.dimensions, normalize=asked.normalize)

    def _forget(self, keys: Iterable[int]) -> None:
        for key in keys:
            self._started -= bool(self._requests.pop(key).started)
            self._queue.remove(key)

    def _load(self) -> Load:
        return Load(
            queued=len(self._requests) - self._started,
            running=self._started,
            outstanding_tokens=self._queue.tokens,
            finished_requests=self._finished,
        )


def _wish(chosen: tuple[_Request, Span]) -> tuple[str, int, bool]:
    return chosen[0].wish


def _deal(group: list[tuple[_Request, Span]], vectors: Floats) -> None:
    first = 0
    for request, span in group:
        last = first + span.last - span.first
        request.take(span, vectors[first:last])
        first = last
