"""A decoder at work: its scheduler, its runner and what a step does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from services.inference_worker.engine.batch import BLOCK_TOKENS, Floats, pack
from services.inference_worker.engine.blocks import BlockPool
from services.inference_worker.engine.budget import Budget, calibrate
from services.inference_worker.engine.runner import DeviceLost, Runner, StepResult
from services.inference_worker.engine.sampler import Choice, choose
from services.inference_worker.engine.scheduler import Scheduler
from services.inference_worker.engine.sequence import Chunk, Sequence
from services.inference_worker.wire import (
    Embed,
    Finish,
    FinishReason,
    Generate,
    Limits,
    Load,
    Output,
    Report,
    TokenLogprob,
)

_LOG = logging.getLogger(__name__)


class Generator:
    """One loaded decoder, whose runner nobody else steps. Its first steps measure what steps cost.

    `clock` gives the seconds in which deadlines and timings are.
    """

    def __init__(
        self, name: str, runner: Runner, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._runner = runner
        self._clock = clock
        self._cache_tokens = runner.blocks * BLOCK_TOKENS
        self._longest = min(runner.context_length, self._cache_tokens)
        self._pool = BlockPool(runner.blocks)
        self._budget = Budget(calibrate(runner, clock), limits)
        self._scheduler = Scheduler(limits, self._pool, self._budget)
        self._steps = 0
        self._finished = 0
        self._generated = 0
        self._drafted = 0
        self._kept = 0
        self._computed = 0, 0.0
        self._changed = False

    @property
    def busy(self) -> bool:
        """True while a step would do or tell something: always while a request is here."""
        return self._changed or bool(self._scheduler.waiting or self._scheduler.running)

    def admit(self, request: Generate | Embed) -> None:
        """Queue a request, which the worker has checked against the model; ValueError says it has not."""
        if not isinstance(request, Generate):
            raise TypeError("a decoder makes no vectors")
        sampling = request.sampling
        ends = frozenset(sampling.stop_token_ids)
        self._scheduler.admit(
            Sequence(
                request,
                limit=min(len(request.token_ids) + sampling.max_tokens, self._longest),
                ends=ends if sampling.ignore_eos else ends | self._runner.end_token_ids,
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
        self._computed = 0, 0.0
        if chunks := self._scheduler.plan(now):
            self._steps += 1
            try:
                result = self._compute(chunks)
                outputs += self._answer(chunks, result)
            except DeviceLost:
                raise  # a new process must take over
            except Exception:  # noqa: BLE001 - whatever it was, other requests go on
                _LOG.exception("a step of %s failed", self._name)
                outputs += self._fail(chunks)
        self._changed = False
        return Report(self._name, self._steps, self._load(), outputs, None, *self._computed)

    def _compute(self, chunks: list[Chunk]) -> StepResult:
        shapes = any(chunk.sequence.shapes for chunk in chunks)
        batch = pack([chunk.part() for chunk in chunks], logits=shapes)
        began = self._clock()
        result = self._runner.step(batch)
        self._computed = batch.rows, self._clock() - began
        self._budget.observe(*self._computed)
        return result

    def _answer(self, chunks: list[Chunk], result: StepResult) -> list[Output]:
        """Take in what the step has computed; return what is to be told."""
        now, row, outputs = self._clock(), 0, list[Output]()
        likeliest: list[int] = result.likeliest.tolist()
        for chunk in chunks:
            if chunk.chooses:
                end = row + 1 + len(chunk.draft)
                outputs.append(self._extend(chunk, result.logits[row:end], likeliest[row:end], now))
                row = end
            else:
                self._scheduler.advance(chunk, chunk.sequence.computed + chunk.length, 0)
        return outputs

    def _extend(self, chunk: Chunk, logits: Floats, likeliest: list[int], now: float) -> Output:
        """Choose the sequence's next token, and those behind it for as long as the draft had them right."""
        sequence, before, kept = chunk.sequence, len(chunk.sequence.tokens), 0
        shapes = sequence.shapes
        logprobs: list[TokenLogprob] = []
        while True:
            choice = choose(logits[kept], likeliest[kept], sequence) if shapes else Choice(likeliest[kept])
            reason = sequence.accept(choice.token, now)
            if choice.logprob is not None and reason != "stop":
                logprobs.append(choice.logprob)
            if reason or kept == len(chunk.draft) or choice.token != chunk.draft[kept]:
                break
            kept += 1
        made = sequence.tokens[before:]
        self._count(chunk, len(made), kept)
        finish = self._finish(sequence, reason, now) if reason else None
        return Output(sequence.id, made, logprobs, finish)

    def _count(self, chunk: Chunk, made: int, kept: int) -> None:
        self._scheduler.advance(chunk, chunk.sequence.computed + chunk.length + kept, made)
        self._generated += made
        if chunk.draft:
            chunk.sequence.lookup.learn(len(chunk.draft), kept)
            self._drafted += len(chunk.draft)
            self._kept += kept

    def _finish(self, sequence: Sequence, reason: FinishReason, now: float) -> Finish:
        self._scheduler.finish(sequence)
        self._finished += 1
        return Finish(reason, sequence.timings(now), sequence.cached)

    def _fail(self, chunks: list[Chunk]) -> list[Output]:
        """Forget those whose step it was. What others hold was computed before, and is whole."""
        for chunk in chunks:
            self._scheduler.cancel(chunk.sequence.id)
        return [Output(chunk.sequence.id, failure="fault") for chunk in chunks]

    def _load(self) -> Load:
        scheduler = self._scheduler
        return Load(
            queued=scheduler.waiting,
            running=scheduler.running,
            outstanding_tokens=scheduler.outstanding_tokens,
            cache_tokens=self._cache_tokens,
            free_cache_tokens=scheduler.free_tokens,
            finished_requests=self._finished,
            generated_tokens=self._generated,
            cached_tokens_hit=scheduler.cached_tokens,
            prompt_tokens_read=scheduler.read_tokens,
            preemptions=scheduler.preemptions,
            drafted_tokens=self._drafted,
            accepted_draft_tokens=self._kept,
        )
