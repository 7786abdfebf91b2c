"""The episodes that run in this process: how many may, which are found again, which nobody goes on with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from services.kit.errors import NotFound, Reason, ResourceExhausted
from services.rl_policy.accounts import Account
from services.rl_policy.diary import Diary
from services.rl_policy.episodes import Run, Stage
from services.rl_policy.registry import Registry
from services.rl_policy.served import Served
from services.rl_policy.store.records import Episode, Phase

K = TypeVar("K")
V = TypeVar("V")

KEPT_REQUEST_IDS = 65_536
KEPT_ENDED = 4_096
"""Ended episodes that a repeated call still finds as they were."""


@dataclass(frozen=True)
class RunLimits:
    """How many episodes may run, and how long one may be left alone once there are as many."""

    episodes: int
    idle_s: float


class Runs:
    """Running episodes, the one touched longest ago first. For one event loop."""

    def __init__(self, registry: Registry, diary: Diary, limits: RunLimits) -> None:
        self._registry = registry
        self._diary = diary
        self._limits = limits
        self._running: OrderedDict[int, Run] = OrderedDict()
        self._ended: OrderedDict[int, Run] = OrderedDict()
        self._by_request: OrderedDict[tuple[str, str], Run] = OrderedDict()

    async def at(self, number: int) -> tuple[Run, Served]:
        """Return an episode and its policy: one that runs here, has just ended, or was begun before us.

        Raises NotFound (EPISODE_NOT_FOUND).
        """
        run = self._running.get(number) or self._ended.get(number) or await self._adopted(number)
        run.touched_at = self._diary.now()
        if number in self._running:
            self._running.move_to_end(number)
        return run, await self._registry.get(run.account.policy)

    def add(self, run: Run, request_id: str) -> None:
        """Take in an episode that begins."""
        self._running[run.number] = run
        if request_id:
            _put(self._by_request, (run.account.policy, request_id), run, KEPT_REQUEST_IDS)

    def by_request(self, policy: str, request_id: str) -> Run | None:
        """Return the episode that a request began."""
        return self._by_request.get((policy, request_id)) if request_id else None

    def running(self, number: int) -> Run | None:
        """Return an episode that runs here."""
        return self._running.get(number)

    async def make_room(self) -> None:
        """Abandon episodes left alone, if there are too many; raises ResourceExhausted where all are busy."""
        while len(self._running) >= self._limits.episodes:
            oldest = next(iter(self._running.values()))
            if self._diary.now() - oldest.touched_at < self._limits.idle_s:
                message = f"{self._limits.episodes} episodes run"
                metadata = {"limit": str(self._limits.episodes)}
                raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=metadata, retry_after=1.0)
            oldest.abandon(self._diary.now())
            await self.end(oldest)

    async def end(self, run: Run) -> None:
        """Take in that an episode has ended; return when that is on disk."""
        self._running.pop(run.number, None)
        run.ended_at = self._diary.now()
        _put(self._ended, run.number, run, KEPT_ENDED)
        await self._diary.end(run.account, run.phase, run.step, run.in_time)

    async def find(self, number: int) -> Episode:
        """Return an episode, running or ended; raises NotFound (EPISODE_NOT_FOUND)."""
        run = self._running.get(number)
        return record_of(run) if run is not None else await self._diary.find(number)

    async def _adopted(self, number: int) -> Run:
        """Go on with an episode that another process began: its first call says at which step it is."""
        if not 0 < number < 1 << 53:
            named = {"episode_id": str(number)}
            raise NotFound(Reason.EPISODE_NOT_FOUND, f"there is no episode {number}", metadata=named)
        known = await self._diary.find(number)
        served = await self._registry.get(known.policy)
        stage = Stage(known.purpose)
        pinned = None if stage is Stage.TRAINING else await served.brain(known.version)
        account = Account(number, known.policy, stage, "adopted", known.version)
        limit = served.specification.max_steps
        run = Run(account, stage, known.seed, limit, pinned, known.tags, known.started_at, adopted=True)
        run.phase, run.ended_at, run.step = known.phase, known.ended_at, known.steps
        if run.phase is Phase.RUNNING and number not in self._running:
            self._running[number] = run
        return self._running.get(number, run)


def record_of(run: Run) -> Episode:
    """Return an episode as the store has it."""
    account = run.account
    return Episode(
        account.episode,
        account.policy,
        account.version,
        run.stage.value,
        account.variant,
        run.key,
        dict(run.tags),
        run.started_at,
        run.ended_at,
        run.phase,
        run.step,
        account.total,
    )


def _put(into: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    into[key] = value
    if len(into) > limit:
        into.popitem(last=False)
