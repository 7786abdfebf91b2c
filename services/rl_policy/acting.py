"""Acting: calls that come while others are answered are one batch of the policy. No timer, no added wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.kit.errors import FailedPrecondition, Reason, ResourceExhausted
from services.rl_policy.algorithms import draws
from services.rl_policy.algorithms.algorithm import Actions, Bools, Floats, Ints, Mode, Policy
from services.rl_policy.specification import Specification


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


class Batcher:
    """Collects the questions of all calls that are ready, and asks each version once. For one event loop.

    A batch begins when the event loop has run everybody who was ready: nobody waits for a clock. More than
    `limit` questions at once are refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[tuple[Brain, Question, asyncio.Future[Choice]]] = []

    async def ask(self, brain: Brain, question: Question) -> Choice:
        """Return the choice; raises ResourceExhausted (QUEUE_FULL), and what `Brain.act` raises."""
        return await self.put(brain, question)

    def put(self, brain: Brain, question: Question) -> asyncio.Future[Choice]:
        """Ask, without waiting."""
        if len(self._waiting) >= self._limit:
            message = f"{self._limit} questions wait"
            raise ResourceExhausted(
                Reason.QUEUE_FULL, message, metadata={"limit": str(self._limit)}, retry_after=0.05
            )
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer)
        done: asyncio.Future[Choice] = loop.create_future()
        self._waiting.append((brain, question, done))
        return done

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        groups: dict[tuple[int, Mode], list[tuple[Brain, Question, asyncio.Future[Choice]]]] = {}
        for each in waiting:
            if not each[2].done():  # a caller who left
                groups.setdefault((id(each[0]), each[1].mode), []).append(each)
        for group in groups.values():
            _settle(group)


def _settle(group: Sequence[tuple[Brain, Question, asyncio.Future[Choice]]]) -> None:
    brain = group[0][0]
    try:
        actions = brain.act(_rows(brain, [question for _, question, _ in group]))
    except Exception as error:  # noqa: BLE001 - goes to each of those who asked
        for _, _, done in group:
            done.set_exception(error)
        return
    propensities, values = actions.propensities.tolist(), actions.values.tolist()
    for index, (_, _, done) in enumerate(group):
        done.set_result(Choice(actions.actions[index], propensities[index], values[index], brain.version))


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
