"""Acting: calls that come while others are answered are one batch of the policy. No timer, no added wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass

import numpy as np
from opentelemetry.trace import Link, SpanContext, Tracer, get_current_span

from services.kit.errors import FailedPrecondition, Reason, ResourceExhausted
from services.kit.semconv import BATCH_SIZE, SPAN_BATCH_EXECUTE
from services.rl_policy.algorithms import draws
from services.rl_policy.algorithms.algorithm import Actions, Bools, Floats, Ints, Mode, Policy
from services.rl_policy.specification import Specification

TURNS = 12
"""From a call's arrival to its question the event loop goes round about as often, in microseconds each."""
MOST_TURNS = 8 * TURNS
"""After so many a batch begins, whoever still comes."""


@dataclass(frozen=True, eq=False)
class Brain:
    """A version that acts: its weights, and the bounds that its policy's safety sets."""

    policy: str
    version: int
    weights: Policy
    specification: Specification

    def act(self, rows: Rows) -> Actions:
        """Choose an action for each row, within the bounds of safety.

        Raises FailedPrecondition (VERSION_UNUSABLE) where what the weights choose is no number.
        """
        uniforms = draws.uniforms(rows.seed, rows.episodes, rows.steps, self.weights.draws)
        chosen = self.weights.act(rows.observations, rows.masks, rows.mode, uniforms)
        if not (np.isfinite(chosen.actions).all() and np.isfinite(chosen.propensities).all()):
            raise unusable(self.policy, self.version, "chooses what is not a number")
        return Actions(self.specification.bounded(chosen.actions), chosen.propensities, chosen.values)


@dataclass(frozen=True)
class Rows:
    """What is asked of a policy at once: B rows, and where their randomness comes from."""

    observations: Floats
    masks: Bools
    mode: Mode
    seed: int
    episodes: Ints
    """(B,): with `seed` and `steps`, what each row's random numbers follow from."""
    steps: Ints


@dataclass(frozen=True)
class Question:
    """What one call asks of a policy."""

    observation: Floats
    mask: Bools
    mode: Mode
    key: int
    """The episode's own seed."""
    step: int


@dataclass(frozen=True)
class Choice:
    """What a policy chose for one row."""

    action: Floats
    propensity: float
    value: float
    """NaN where the policy expects nothing."""
    version: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    brain: Brain
    question: Question
    done: asyncio.Future[Choice]
    span: SpanContext


class Batcher:
    """Collects the questions of all calls that are ready, and asks each version once. For one event loop.

    A batch begins when the event loop has gone round TURNS times and nobody new has asked: nobody waits for a
    clock, and a lone question for microseconds only. More than `limit` questions at once are refused.
    """

    def __init__(self, limit: int, tracer: Tracer) -> None:
        self._limit = limit
        self._tracer = tracer
        self._waiting: list[_Waiting] = []
        self._turns = self._last = 0
        """Turns since the first one waits, and the turn at which the last one came."""

    async def ask(self, brain: Brain, question: Question) -> Choice:
        """Return the choice; raises ResourceExhausted (QUEUE_FULL), and what `Brain.act` raises."""
        if len(self._waiting) >= self._limit:
            message, named = f"{self._limit} questions wait", {"limit": str(self._limit)}
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=named, retry_after=0.05)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._turns = 0
            loop.call_soon(self._turn, loop, context=Context())
        self._last = self._turns
        done: asyncio.Future[Choice] = loop.create_future()
        self._waiting.append(_Waiting(brain, question, done, get_current_span().get_span_context()))
        return await done

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turns += 1
        if self._turns - self._last < TURNS and self._turns < MOST_TURNS:
            loop.call_soon(self._turn, loop, context=Context())
        else:
            self._answer()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        groups: dict[tuple[int, Mode], list[_Waiting]] = {}
        for each in waiting:
            if not each.done.done():  # a caller who left
                groups.setdefault((id(each.brain), each.question.mode), []).append(each)
        for group in groups.values():
            with self._span(group):
                _settle(group)

    @contextmanager
    def _span(self, group: Sequence[_Waiting]) -> Iterator[None]:
        """Trace a batch that joins calls, with a link to each; a call alone is its own server span."""
        if len(group) < 2:
            yield
            return
        links = [Link(each.span) for each in group if each.span.is_valid]
        named: dict[str, str | int] = {"trunkline.policy": group[0].brain.policy, BATCH_SIZE: len(group)}
        with self._tracer.start_as_current_span(SPAN_BATCH_EXECUTE, links=links, attributes=named):
            yield


def _settle(group: Sequence[_Waiting]) -> None:
    brain = group[0].brain
    try:
        actions = brain.act(_rows(brain, [each.question for each in group]))
    except Exception as error:  # noqa: BLE001 - goes to each of those who asked
        for each in group:
            each.done.set_exception(error)
        return
    propensities, values = actions.propensities.tolist(), actions.values.tolist()
    for index, each in enumerate(group):
        each.done.set_result(
            Choice(actions.actions[index], propensities[index], values[index], brain.version)
        )


def _rows(brain: Brain, questions: Sequence[Question]) -> Rows:
    return Rows(
        np.stack([each.observation for each in questions]),
        np.stack([each.mask for each in questions]),
        questions[0].mode,
        brain.specification.plan.seed,
        np.asarray([each.key for each in questions], np.uint64).astype(np.int64),
        np.asarray([each.step for each in questions], np.int64),
    )


def unusable(policy: str, version: int, why: str) -> FailedPrecondition:
    """Return the error for a version that must not act, or cannot."""
    named = {"policy": policy, "version": str(version)}
    message = f"version {version} of policy {policy!r} {why}"
    return FailedPrecondition(Reason.VERSION_UNUSABLE, message, metadata=named)
