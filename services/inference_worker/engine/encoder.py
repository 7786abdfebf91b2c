"""An encoder at work: inputs of all waiting requests share batches.

Nothing waits for company: what is queued when the engine is free is taken (batch while busy).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from time import monotonic

import torch
from torch import Tensor

from services.inference_worker.engine.inputs import Input, InputQueue
from services.inference_worker.engine.pooling import pool
from services.inference_worker.engine.weights import LoadedModel
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


@dataclass(eq=False, slots=True)
class _Request:
    """An Embed with the vectors it has so far."""

    asked: Embed
    vectors: dict[int, Tensor] = field(default_factory=dict)
    started: float = 0.0

    @property
    def done(self) -> bool:
        return len(self.vectors) == len(self.asked.inputs)

    @property
    def deadline(self) -> float:
        return math.inf if self.asked.deadline is None else self.asked.deadline

    def output(self, now: float) -> Output:
        """Return the whole answer: every vector is there."""
        values = torch.stack([self.vectors[index] for index in range(len(self.vectors))]).numpy()
        return Output(
            self.asked.id, vectors=Vectors(values.astype("<f4").tobytes(), Timings(self.started, now, now))
        )


class Encoder:
    """One loaded encoder. `clock` gives the seconds in which deadlines and timings are."""

    def __init__(
        self, name: str, loaded: LoadedModel, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._loaded = loaded
        self._limits = limits
        self._clock = clock
        self._requests: dict[int, _Request] = {}
        self._queue = InputQueue()
        self._steps = 0
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
        self._queue.add(request.id, map(len, request.inputs))

    def cancel(self, request_id: int) -> bool:
        """Forget a request; return whether it was here."""
        found = request_id in self._requests
        self._forget({request_id} if found else set())
        self._changed |= found
        return found

    def step(self) -> Report:
        """Run one batch, and tell what came of it."""
        now = self._clock()
        late = {key for key, request in self._requests.items() if request.deadline <= now}
        self._forget(late)
        outputs, batch = [Output(key, failure="deadline") for key in late], None
        if self._queue:
            self._steps += 1
            try:
                batch, finished = self._run(self._queue.take(self._limits.batch_tokens))
                outputs += finished
            except torch.AcceleratorError:
                raise  # the device is lost to this process: a new one must take over
            except Exception:  # noqa: BLE001 - whatever it was, other models go on
                _LOG.exception("a batch of %s failed", self._name)
                outputs += [Output(key, failure="fault") for key in self._requests]
                self._forget(set(self._requests))
        self._changed = False
        return Report(self._name, self._steps, self._load(), outputs, batch)

    def _run(self, chosen: list[Input]) -> tuple[Batch, list[Output]]:
        started = self._clock()
        requests = {each.request: self._requests[each.request] for each in chosen}
        states, mask = self._encode([requests[each.request].asked.inputs[each.index] for each in chosen])
        for each, state, kept in zip(chosen, states, mask, strict=True):
            request = requests[each.request]
            request.vectors[each.index] = pool(state, kept, request.asked)
            request.started = request.started or started
        ended = self._clock()
        outputs = [request.output(ended) for request in requests.values() if request.done]
        for output in outputs:
            del self._requests[output.id]
        self._finished += len(outputs)
        return Batch(list(requests), len(chosen), int(mask.sum()), started, ended), outputs

    @torch.inference_mode()
    def _encode(self, inputs: Rows[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the last hidden states, float32 [inputs, longest, size], and a mask, 1 where a token is."""
        longest, padding = max(map(len, inputs)), self._loaded.padding_id
        tokens = torch.tensor([each + [padding] * (longest - len(each)) for each in inputs])
        mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in inputs])
        device = self._loaded.device
        output = self._loaded.model(input_ids=tokens.to(device), attention_mask=mask.to(device))
        return output.last_hidden_state.float().cpu(), mask

    def _forget(self, keys: set[int]) -> None:
        for key in keys:
            del self._requests[key]
        if keys:
            self._queue.remove(keys)

    def _load(self) -> Load:
        waiting = sum(1 for each in self._requests.values() if not each.started)
        return Load(
            queued=waiting,
            running=len(self._requests) - waiting,
            outstanding_tokens=self._queue.tokens,
            finished_requests=self._finished,
        )
