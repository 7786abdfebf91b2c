"""The training of one policy: what may be asked of it when, where it stands, and who watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from services.kit.errors import FailedPrecondition, Reason, Unavailable, invalid
from services.rl_policy.algorithms.algorithm import Transitions
from services.rl_policy.trainer import Assignment, MakeTrainer, Progress, Trainer, TrainingState

RETURNS_OF = 100
"""Episodes that a mean return is of."""
ACTIVE = frozenset({TrainingState.RUNNING, TrainingState.PAUSED, TrainingState.RECOVERING})


@dataclass(frozen=True)
class TrainingPlan:
    """What StartTraining says."""

    budget: int = 0
    target_return: float | None = None
    learn_from_live: bool = False
    checkpoint_interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise invalid("step_budget", f"must be 0 or more, not {self.budget}")
        if self.target_return is not None and not isfinite(self.target_return):
            raise invalid("target_return", "must be finite")
        if not 0 <= self.checkpoint_interval_s <= 86_400:
            raise invalid("checkpoint_interval", "must be from 0 to 86,400 seconds")


@dataclass(frozen=True)
class Status:
    """Where training stands."""

    state: TrainingState = TrainingState.IDLE
    steps: int = 0
    updates: int = 0
    budget: int = 0
    version: int = 0
    mean_return: float | None = None
    episodes: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""


class Training:
    """One policy's training. For one event loop.

    `on_progress` is told of whatever the learner says, before anybody who watches is.
    """

    def __init__(
        self, policy: str, make: MakeTrainer, on_progress: Callable[[Progress], None], status: Status
    ) -> None:
        self._policy = policy
        self._make = make
        self._on_progress = on_progress
        self._trainer: Trainer | None = None
        self._returns: deque[float] = deque(maxlen=RETURNS_OF)
        self._changed = asyncio.Event()
        self._reached = False
        self._finishing: asyncio.Task[None] | None = None
        self.plan = TrainingPlan()
        self.status = status
        self.in_lock_step = False

    @property
    def active(self) -> bool:
        """Whether there is a learner that learns, or will go on to."""
        return self.status.state in ACTIVE

    async def start(self, assignment: Assignment, plan: TrainingPlan) -> Status:
        """Start a learner; raises FailedPrecondition (TRAINING_STATE) where there is one already."""
        if self.active or self._trainer is not None:
            raise self._wrong_state("runs already")
        self.plan = plan
        self._reached = False
        self._trainer = trainer = self._make(assignment, self._heard)
        self._set(state=TrainingState.RUNNING, budget=plan.budget, fault="")
        try:
            await trainer.start()
        except BaseException:
            self._trainer = None
            self._set(state=TrainingState.IDLE)
            raise
        return self.status

    async def pause(self) -> Status:
        """Hold still."""
        if self.status.state is not TrainingState.PAUSED:
            await self._running("runs not, so it cannot be paused").pause()
            self._set(state=TrainingState.PAUSED)
        return self.status

    async def resume(self) -> Status:
        """Go on."""
        if self.status.state is TrainingState.PAUSED and self._trainer is not None:
            await self._trainer.resume()
            self._set(state=TrainingState.RUNNING)
        else:
            self._running("is not paused")
        return self.status

    async def stop(self, state: TrainingState = TrainingState.IDLE) -> Status:
        """Keep a version and end the learner; what does not run stays as it is."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            await trainer.stop()
            if self.status.state in ACTIVE:
                self._set(state=state)
        return self.status

    async def checkpoint(self) -> int | None:
        """Keep a version; return its number, None where nothing runs."""
        return None if self._trainer is None else await self._trainer.checkpoint()

    async def learn(self, batch: Transitions) -> Progress | None:
        """Lock-step: learn from `batch` now; None where training has finished."""
        if self.status.state is TrainingState.FINISHED:
            return None
        progress = await self._running("must run for lock-step").learn(batch)
        self._heard(progress)
        return progress

    def check_running(self) -> None:
        """Raise FailedPrecondition (TRAINING_STATE) unless a learner runs."""
        self._running("must run for lock-step")

    def check_free(self) -> None:
        """Raise FailedPrecondition (TRAINING_STATE) while a rollout has the log for itself."""
        if self.in_lock_step:
            raise self._wrong_state("is in lock-step with a rollout; nothing else is learned from meanwhile")

    def wake(self) -> None:
        """Say that the log has grown."""
        if self._trainer is not None and not self.in_lock_step:
            self._trainer.wake()

    def note_return(self, total: float) -> None:
        """Take in the return of a training episode that has ended."""
        self._returns.append(total)
        mean = sum(self._returns) / len(self._returns)
        self._set(mean_return=mean, episodes=self.status.episodes + 1)
        target = self.plan.target_return
        enough = len(self._returns) == RETURNS_OF and target is not None and mean >= target
        if enough and not self._reached and self.active:
            self._reached = True
            self._finish()

    async def watch(self, interval: float) -> AsyncIterator[Status]:
        """Yield the status at once and on change, at most every `interval` seconds, until nothing runs."""
        while True:
            changed = self._changed
            yield self.status
            if not self.active:
                return
            await changed.wait()
            await asyncio.sleep(interval)

    def _heard(self, progress: Progress) -> None:
        """Take in what the learner says; called in the event loop."""
        self._on_progress(progress)
        over = progress.state in {TrainingState.FINISHED, TrainingState.DIVERGED}
        # What still comes from a learner that is held, or has ended, does not set it going.
        moves = over or self.status.state in {TrainingState.RUNNING, TrainingState.RECOVERING}
        self._set(
            state=progress.state if moves else self.status.state,
            steps=progress.steps or self.status.steps,
            updates=progress.updates or self.status.updates,
            metrics=dict(progress.metrics) or self.status.metrics,
            version=progress.version or self.status.version,
            fault=progress.fault or self.status.fault,
        )
        if over:
            self._finish()

    def _finish(self) -> None:
        if self._finishing is None or self._finishing.done():
            self._finishing = asyncio.create_task(self._end(), name=f"finish training {self._policy}")

    async def _end(self) -> None:
        await self.stop(TrainingState.FINISHED)

    def _set(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        self._changed.set()
        self._changed = asyncio.Event()

    def _running(self, what: str) -> Trainer:
        if self.status.state is TrainingState.RECOVERING:
            named = {"policy": self._policy}
            message = f"the learner of policy {self._policy!r} is being started again"
            raise Unavailable(Reason.LEARNER_UNAVAILABLE, message, metadata=named)
        if self._trainer is None or self.status.state is not TrainingState.RUNNING:
            raise self._wrong_state(what)
        return self._trainer

    def _wrong_state(self, what: str) -> FailedPrecondition:
        named = {"policy": self._policy, "state": str(self.status.state)}
        message = f"the training of policy {self._policy!r} {what} (it is {self.status.state})"
        return FailedPrecondition(Reason.TRAINING_STATE, message, metadata=named)


def document(plan: TrainingPlan, status: Status) -> dict[str, Any]:
    """Return what outlives the process, as JSON can say it."""
    kept = {name: value for name, value in asdict(status).items() if name != "metrics"}
    return {"plan": asdict(plan), "status": {**kept, "state": str(status.state)}}


def of_document(document: Mapping[str, Any]) -> tuple[TrainingPlan, Status]:
    """Return what `document` made."""
    if not document:
        return TrainingPlan(), Status()
    status = Status(**{**document["status"], "state": TrainingState(document["status"]["state"])})
    return TrainingPlan(**document["plan"]), status
