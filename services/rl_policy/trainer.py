"""What the service asks of a policy's learner, which is another process, and what it hears from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from services.rl_policy.algorithms.algorithm import Array, Transitions
from services.rl_policy.algorithms.plan import Plan


class TrainingState(StrEnum):
    """Where training stands: the names of `trunkline.policy.v1.TrainingState`, without their prefix."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    DIVERGED = "DIVERGED"
    RECOVERING = "RECOVERING"


@dataclass(frozen=True)
class Assignment:
    """What one learner is to do."""

    policy: str
    plan: Plan
    from_version: int
    """The version whose checkpoint to go on from; without a checkpoint it begins anew."""
    budget: int = 0
    """From how many transitions to learn, in all; 0: no end."""
    checkpoint_interval_s: float = 60.0
    """How often a version is kept by itself; 0: only when asked, and at the end."""
    reward_limits: tuple[float | None, float | None] = (None, None)
    """Rewards are cut to these before they are learned from."""


@dataclass(frozen=True)
class Progress:
    """What a learner has done so far."""

    steps: int
    """Transitions observed."""
    updates: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the last update."""
    weights: Mapping[str, Array] | None = None
    """What acts from now on (`Policy.weights`), where that has changed."""
    version: int = 0
    """The version that was kept just now; 0: none was."""
    state: TrainingState = TrainingState.RUNNING
    fault: str = ""
    """Why it diverged, or was lost."""


Listener = Callable[[Progress], None]
"""Told in the event loop of whatever a learner says by itself."""


class Trainer(Protocol):
    """The learner of one policy, in a process of its own.

    It reads the policy's log in the store from its checkpoint's cursor on, and publishes to the store. Lost,
    it is started again from its last checkpoint, and says so (RECOVERING, then RUNNING).
    """

    async def start(self) -> None:
        """Start the process; return when it learns. Raises Unavailable (LEARNER_UNAVAILABLE)."""

    def wake(self) -> None:
        """Say that the log has grown."""

    async def learn(self, batch: Transitions) -> Progress:
        """Lock-step: learn from what comes next in the log, now, and from nothing else meanwhile.

        The batch is being written to the log, too; the learner's cursor moves over it. Returns when all
        updates that are due have been made, with the weights where they changed. Raises Unavailable.
        """

    async def pause(self) -> None:
        """Hold still."""

    async def resume(self) -> None:
        """Go on."""

    async def checkpoint(self) -> int:
        """Keep a version; return its number. Raises Unavailable."""

    async def stop(self) -> None:
        """Keep a version and end the process. Never raises for a process that is gone."""


MakeTrainer = Callable[[Assignment, Listener], Trainer]
