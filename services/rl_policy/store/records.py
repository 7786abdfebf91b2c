"""What the store keeps, as its callers see it. Times are Unix seconds; 0 means not yet.

A *position* is a transition's number in the log of its policy: from 0, without gaps, in the order of commits,
the same in every replica and after every restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.rl_policy.algorithms.algorithm import Transitions


class Phase(StrEnum):
    """Where an episode is."""

    RUNNING = "running"
    TERMINATED = "terminated"
    TRUNCATED = "truncated"
    ABANDONED = "abandoned"
    """Nobody went on with it."""


@dataclass(frozen=True)
class PolicyRecord:
    """A policy: what it was created as, and where it stands."""

    name: str
    spec: Mapping[str, Any]
    """What CreatePolicy said, as JSON says it; never changes."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What changes: traffic, training and the like, as JSON says it."""
    revision: int = 1
    """Counts the changes of `state`."""
    created_at: float = 0.0


@dataclass(frozen=True)
class Episode:
    """One episode, begun or ended."""

    number: int
    """From `Ids.next`; what `Transitions.episode` holds."""
    policy: str
    version: int
    """The version that acts in it."""
    purpose: str = "train"
    """train, evaluate or serve."""
    variant: str = ""
    """The part of the traffic that it belongs to: stable, canary, pinned."""
    seed: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0
    phase: Phase = Phase.RUNNING
    steps: int = 0
    total: float = 0.0
    """The sum of its rewards, late ones included."""


@dataclass(frozen=True)
class Reward:
    """A part of what a decision earned. Parts add up; the same part twice counts once."""

    decision_id: int
    part: str
    """Names the part within its decision, so that a retry is safe."""
    value: float
    final: bool = True
    """Whether the decision is settled by it: nothing else is waited for. What still comes, corrects."""
    episode: int = 0
    """The episode whose total it is added to; 0: none."""


@dataclass(frozen=True)
class Joined:
    """What became of rewards that were sent."""

    accepted: int
    duplicates: int
    unknown: tuple[int, ...] = ()
    """The decision ids that were never given out."""


@dataclass(frozen=True)
class Cursor:
    """How far a reader of a policy's log has come; a checkpoint keeps it."""

    position: int = 0
    """The next transition to be read."""
    rewards: int = 0
    """The last reward that was seen."""


@dataclass(frozen=True)
class Correction:
    """A reward that came after its transition had been read."""

    position: int
    decision_id: int
    amount: float
    """To be added to the transition's reward."""


@dataclass(frozen=True)
class Released:
    """What a reader gets: whole transitions in the order of the log, and what came late to earlier ones."""

    first: int
    """The position of the first transition; the others follow without gaps."""
    transitions: Transitions
    corrections: tuple[Correction, ...]
    cursor: Cursor
    """Where to read on."""
    waiting: bool = False
    """Whether the log goes on, with a transition whose reward is awaited."""


@dataclass(frozen=True)
class Version:
    """A version of a policy: immutable weights that act, and the checkpoint that learning goes on from."""

    policy: str
    number: int
    """From 1, in the order of publication; 0 in a request to publish: the next."""
    algorithm: str
    parent: int = 0
    """The version that it was learned from."""
    origin: str = "learner"
    """learner, import, created, or whatever else made it."""
    cursor: Cursor = Cursor()
    """The part of the log that it has learned from."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """Whatever belongs to the weights as JSON says it: sizes, scalars of the checkpoint."""
    fault: str = ""
    """Why it must not act: found to diverge, say; empty: nothing is known against it."""
    created_at: float = 0.0
    digest: str = ""
    """SHA-256 of its weights, as hex; filled by the store."""


@dataclass(frozen=True)
class Incident:
    """Something that an operator should know of: a rollback, a learner that diverged."""

    policy: str
    kind: str
    """ROLLED_BACK, DIVERGED and the like."""
    message: str
    details: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0
    number: int = 0
    """Filled by the store, counting up."""
