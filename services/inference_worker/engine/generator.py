"""A decoder at work: its scheduler, its runner and what a step does."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic

from torch import AcceleratorError, Tensor

from services.inference_worker.engine.runner import Runner
from services.inference_worker.engine.sampler import choose
from services.inference_worker.engine.scheduler import Scheduler
from services.inference_worker.engine.sequence import Segment, Sequence
from services.inference_worker.wire import Embed, Finish, Generate, Limits, Load, Output, Report

_LOG = logging.getLogger(__name__)


class Generator:
    """One loaded decoder. `clock` gives the seconds in which deadlines and timings are."""

    def __init__(
        self, name: str, runner: Runner, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._runner = runner
        self._limits = limits
        self._clock = clock
        self._scheduler = Scheduler(limits)
        self._steps = 0
        self._finished = 0
        self._generated = 0
        self._changed = False

    @property
    def busy(self) -> bool:
        """True while a step would do or tell something."""
        return self._changed or bool(self._scheduler.waiting or self._scheduler.running)

    def admit(self, request: Generate | Embed) -> None:
        """Queue a request, which the worker has checked against the model."""
        if not isinstance(request, Generate):
            raise TypeError("a decoder makes no vectors")
        sampling = request.sampling
        ends = frozenset(sampling.stop_token_ids)
        self._scheduler.admit(
            Sequence(
                id=request.id,
                tokens=request.token_ids,
                prompt_length=len(request.token_ids),
                limit=min(len(request.token_ids) + sampling.max_tokens, self._runner.context_length),
                sampling=sampling,
                ends=ends if sampling.ignore_eos else ends | self._runner.end_token_ids,
                accepted=request.accepted,
                deadline=math.inf if request.deadline is None else request.deadline,
            )
        )

    def cancel(self, request_id: int) -> bool:
        """Forget a request; return whether it was here."""
        found = self._scheduler.cancel(request_id)
        self._changed |= found
        return found

    def step(self) -> Report:
        """Make one step for everybody who has a place, and tell what came of it."""
        now = self._clock()
        outputs = [Output(late.id, failure="deadline") for late in self._scheduler.expire(now)]
        if segments := self._scheduler.plan(now):
            self._steps += 1
            try:
                outputs += self._advance(segments, self._runner.forward(segments))
            except AcceleratorError:
                raise  # the device is lost to this process: a new one must take over
            except Exception:  # noqa: BLE001 - whatever it was, other models go on
                _LOG.exception("a step of %s failed", self._name)
                outputs += [Output(each.id, failure="fault") for each in self._scheduler.clear()]
        self._changed = False
        return Report(self._name, self._steps, self._load(), outputs)

    def _advance(self, segments: list[Segment], logits: Tensor) -> list[Output]:
        """Take the step's tokens in; return what is to be told."""
        ready = [segment.sequence for segment in segments if segment.complete]
        choices = choose(logits, ready)
        for segment in segments:
            segment.sequence.computed = segment.end
        now, outputs = self._clock(), []
        for sequence, choice in zip(ready, choices, strict=True):
            before = len(sequence.tokens)
            reason = sequence.accept(choice.token, now)
            made = sequence.tokens[before:]
            finish = Finish(reason, sequence.timings(now)) if reason else None
            logprobs = [choice.logprob] if made and choice.logprob else []
            outputs.append(Output(sequence.id, made, logprobs, finish))
            self._generated += len(made)
            if reason:
                self._scheduler.finish(sequence)
                self._finished += 1
        return outputs

    def _load(self) -> Load:
        return Load(
            queued=self._scheduler.waiting,
            running=self._scheduler.running,
            outstanding_tokens=self._scheduler.outstanding_tokens,
            cache_tokens=self._limits.cache_tokens,
            free_cache_tokens=self._scheduler.free_tokens,
            finished_requests=self._finished,
            generated_tokens=self._generated,
        )
