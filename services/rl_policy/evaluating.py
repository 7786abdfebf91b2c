"""How good a version is: by its own episodes, by a built-in environment, or by others' episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeAlias

from services.kit.errors import Reason, ResourceExhausted, invalid
from services.rl_policy.acting import Brain
from services.rl_policy.algorithms.algorithm import Mode
from services.rl_policy.arena import returns_of
from services.rl_policy.episodes import Stage
from services.rl_policy.evaluation.estimate import Estimate, of_returns, ranked
from services.rl_policy.evaluation.off_policy import Candidate, evaluate
from services.rl_policy.evaluation.question import Method, Question
from services.rl_policy.served import Served
from services.rl_policy.store.store import Store

__all__ = ["BuiltIn", "How", "Judge", "OffPolicy", "OwnEpisodes", "ranked"]

MAX_EPISODES = 1_000_000
MAX_PLAYED = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class OwnEpisodes:
    """By the episodes that the version has acted in."""

    evaluation_only: bool = False


@dataclass(frozen=True)
class BuiltIn:
    """By playing an environment of gymnasium's registry, greedily."""

    environment_id: str
    episodes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= MAX_PLAYED:
            raise invalid("built_in.episodes", f"must be from 1 to {MAX_PLAYED:,}, not {self.episodes}")
        if self.seed >= 1 << 31:
            raise invalid("built_in.seed", "must be below 2^31")


@dataclass(frozen=True)
class OffPolicy:
    """By episodes in which others acted."""

    method: Method
    confidence: float = CONFIDENCE
    min_effective: float = 50.0
    discount: float | None = None
    behaviour_version: int | None = None
    max_episodes: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.max_episodes <= MAX_EPISODES:
            limit = f"must be from 1 to {MAX_EPISODES:,}, not {self.max_episodes}"
            raise invalid("off_policy.max_episodes", limit)


How: TypeAlias = OwnEpisodes | BuiltIn | OffPolicy


class Judge:
    """Judges versions, on one thread of its own: whoever judges long delays only who judges, too."""

    def __init__(self, store: Store, most_waiting: int = 16) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._most_waiting = most_waiting

    async def estimate(self, served: Served, version: int, how: How) -> Estimate:
        """Return how good a version is.

        Raises InvalidArgument, FailedPrecondition (EVIDENCE_TOO_THIN, VERSION_UNUSABLE) and ResourceExhausted
        (QUEUE_FULL) where many wait.
        """
        if self._waiting >= self._most_waiting:
            named = {"limit": str(self._most_waiting)}
            message = f"{self._most_waiting} evaluations wait"
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=named, retry_after=1.0)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._judged(served, version, how)
        finally:
            self._waiting -= 1

    async def _judged(self, served: Served, version: int, how: How) -> Estimate:
        if isinstance(how, OwnEpisodes):
            return await asyncio.to_thread(_own, self._store, served.name, version, how)
        brain = await served.brain(version)
        if isinstance(how, OffPolicy):
            return await asyncio.to_thread(_others, self._store, brain, how)
        given_up = Event()
        try:
            return await asyncio.to_thread(_played, brain, how, given_up.is_set)
        finally:
            given_up.set()


def _own(store: Store, policy: str, version: int, how: OwnEpisodes) -> Estimate:
    totals = store.episodes.totals(policy, version, Stage.EVALUATION.value, MAX_EPISODES)
    if not how.evaluation_only and not len(totals):
        totals = store.episodes.totals(policy, version, Stage.LIVE.value, MAX_EPISODES)
    return of_returns(totals, CONFIDENCE)


def _played(brain: Brain, how: BuiltIn, given_up: Callable[[], bool]) -> Estimate:
    returns = returns_of(brain, how.environment_id, how.episodes, how.seed, given_up)
    return of_returns(returns, CONFIDENCE)


def _others(store: Store, brain: Brain, how: OffPolicy) -> Estimate:
    plan = brain.specification.plan
    discount = plan.discount if how.discount is None else how.discount
    question = Question(how.method, discount, how.confidence, how.min_effective)
    recorded = store.recordings.newest(brain.policy, how.max_episodes, how.behaviour_version)
    candidate = Candidate(brain.weights, Mode.GREEDY, plan.observation, plan.action)
    return evaluate(candidate, [each.transitions for each in recorded], question)
