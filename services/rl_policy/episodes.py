"""The state machine of an episode: what may follow what, and the transitions that come of it.

DECIDING --decide--> DECIDED --observe--> DECIDING … or the end; decide again takes a step without observe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from services.kit.errors import Aborted, FailedPrecondition, Reason, invalid
from services.rl_policy.accounts import Account
from services.rl_policy.acting import Brain, Choice
from services.rl_policy.algorithms.algorithm import Bools, Floats, Transitions
from services.rl_policy.store.records import Phase


class Stage(StrEnum):
    """What an episode is for."""

    TRAINING = "training"
    LIVE = "live"
    EVALUATION = "evaluation"


@dataclass(frozen=True)
class Sight:
    """What is seen before a choice."""

    observation: Floats
    mask: Bools


@dataclass(frozen=True)
class Decision:
    """An action that was given out."""

    number: int
    sight: Sight
    choice: Choice


@dataclass(frozen=True)
class Outcome:
    """What came of an action."""

    reward: float | None
    """None: it comes later."""
    seen: Sight
    terminated: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class Step:
    """One transition of one episode."""

    episode: int
    number: int
    decision: Decision
    outcome: Outcome


@dataclass(eq=False)
class Run:
    """An episode that runs, or has ended. One task at a time changes it: none awaits between its calls."""

    account: Account
    stage: Stage
    key: int
    """What its random numbers follow from, with the policy's seed."""
    max_steps: int
    pinned: Brain | None
    """The version that acts for its whole length; None: the newest."""
    tags: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    step: int = 0
    """The step that is decided next, or was decided last."""
    phase: Phase = Phase.RUNNING
    sight: Sight | None = None
    """What the last outcome saw; None before the first step."""
    decision: Decision | None = None
    last: Step | None = None
    adopted: bool = False
    """Begun before this process: its first step is whatever the caller says."""
    touched_at: float = 0.0
    ended_at: float = 0.0
    in_time: float = 0.0
    """The sum of the rewards that came with their step."""
    busy: bool = False
    """A choice for the next step is being made."""
    saved: asyncio.Future[int] | None = None
    """Done when the last transition is on disk."""

    @property
    def number(self) -> int:
        """The episode's number."""
        return self.account.episode

    def repeated(self, step: int, observation: Floats | None) -> Decision | None:
        """Return the decision of `step` where it was made already; raises where `step` cannot follow."""
        self.check_running()
        if self.adopted and self.decision is None and self.last is None:
            self.step, self.adopted = step, False
        if self.decision is None or step != self.step:
            self._check_step(step, self.step if self.decision is None else self.step + 1)
            return None
        if observation is not None and not np.array_equal(observation, self.decision.sight.observation):
            raise invalid("observation", f"is not the one that step {step} was decided on")
        return self.decision

    def sees(self, observation: Floats | None, mask: Bools) -> Sight:
        """Return what the next choice is made on: what is sent, else what the last outcome saw."""
        if observation is not None:
            return Sight(observation, mask)
        if self.sight is None or self.decision is not None:
            raise invalid("observation", "must be given: nothing was observed since the last step")
        return Sight(self.sight.observation, mask)

    def decide(self, decision: Decision) -> Step | None:
        """Take in a decision for the next step; return the transition that it closes, if one was open."""
        closed = None
        if self.decision is not None:
            closed = self._close(Outcome(None, decision.sight))
        self.decision = decision
        self.account.version = decision.choice.version
        return closed

    def observe(self, step: int, outcome: Outcome) -> Step | None:
        """Take in what came of the last action; return its transition, None where it was told before."""
        if self.last is not None and step == self.last.number and self.decision is None:
            _check_same(self.last.outcome, outcome)
            return None
        self.check_running()
        if self.decision is None:
            raise self._out_of_order(step, self.step, "has no decision that waits for its outcome")
        self._check_step(step, self.step)
        if self.step + 1 >= self.max_steps and not outcome.terminated:
            outcome = Outcome(outcome.reward, outcome.seen, truncated=True)
        return self._close(outcome)

    def end(self, at: float, seen: Floats | None, reward: float | None) -> Step | None:
        """Cut the episode; return the last transition, where there is a decision and `seen` tells its end."""
        if self.phase is not Phase.RUNNING:
            return None
        closed = None
        if self.decision is not None and seen is not None:
            everything = np.ones_like(self.decision.sight.mask)
            closed = self._close(Outcome(reward, Sight(seen, everything), truncated=True))
        self.decision = None
        self.phase = Phase.TRUNCATED
        self.ended_at = at
        return closed

    def abandon(self, at: float) -> None:
        """End an episode that nobody goes on with; a decision without an outcome is dropped."""
        self.phase, self.decision, self.ended_at = Phase.ABANDONED, None, at

    def _close(self, outcome: Outcome) -> Step:
        decision = self.decision
        assert decision is not None  # noqa: S101 - its callers have looked
        closed = Step(self.number, self.step, decision, outcome)
        self.step += 1
        self.decision, self.sight, self.last = None, outcome.seen, closed
        if outcome.terminated or outcome.truncated:
            self.phase = Phase.TERMINATED if outcome.terminated else Phase.TRUNCATED
        return closed

    def check_running(self) -> None:
        """Raise FailedPrecondition (EPISODE_ENDED) where it has ended."""
        if self.phase is not Phase.RUNNING:
            named = {"episode_id": str(self.number)}
            raise FailedPrecondition(Reason.EPISODE_ENDED, f"episode {self.number} has ended", metadata=named)

    def _check_step(self, step: int, expected: int) -> None:
        if step != expected:
            raise self._out_of_order(step, expected, f"is at step {expected}, not {step}")

    def _out_of_order(self, step: int, expected: int, what: str) -> Aborted:
        named = {"episode_id": str(self.number), "expected_step": str(expected), "step": str(step)}
        return Aborted(Reason.STEP_OUT_OF_ORDER, f"episode {self.number} {what}", metadata=named)


def transitions(steps: Sequence[Step]) -> tuple[Transitions, Bools]:
    """Return steps, at least one, as columns, and which of them (B,) have their whole reward."""
    decisions = [each.decision for each in steps]
    outcomes = [each.outcome for each in steps]
    batch = Transitions(
        episode=np.asarray([each.episode for each in steps], np.int64),
        step=np.asarray([each.number for each in steps], np.int64),
        observation=np.stack([each.sight.observation for each in decisions]),
        action=np.stack([each.choice.action for each in decisions]),
        propensity=np.asarray([each.choice.propensity for each in decisions], np.float64),
        reward=np.asarray([each.reward or 0.0 for each in outcomes], np.float64),
        next_observation=np.stack([each.seen.observation for each in outcomes]),
        terminated=np.asarray([each.terminated for each in outcomes], np.bool_),
        truncated=np.asarray([each.truncated for each in outcomes], np.bool_),
        mask=np.stack([each.sight.mask for each in decisions]),
        next_mask=np.stack([each.seen.mask for each in outcomes]),
        decision_id=np.asarray([each.number for each in decisions], np.int64),
        policy_version=np.asarray([each.choice.version for each in decisions], np.int64),
    )
    return batch, np.asarray([each.reward is not None for each in outcomes], np.bool_)


def _check_same(before: Outcome, again: Outcome) -> None:
    same = before.reward == again.reward and before.terminated == again.terminated
    if not same or not np.array_equal(before.seen.observation, again.seen.observation):
        raise invalid("step", "was observed before, with another outcome")
