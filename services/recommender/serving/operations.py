"""What takes longer than a call: trainings and evaluations, and a record of how each went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "succeeded", "failed", "cancelled"]
Kind = Literal["train", "evaluate"]


@dataclass(slots=True)
class Operation:
    """One training or evaluation. Changed by its owner alone."""

    operation_id: str
    kind: Kind
    started: float
    """Unix seconds."""
    cause: str = "asked"
    """asked, or the policy that began it: `events`, `period`, `metric_drop`."""
    state: State = "running"
    ended: float = 0.0
    version: str = ""
    """The version that a training made."""
    promoted: bool = False
    refused: str = ""
    """Why the gate did not let the version serve; empty: it did, or was not asked to."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What an evaluation found: `{"ndcg@10": {"mean": …, "per_seed": […]}, …}`."""
    error: str = ""
    """Half a sentence, without the child's own words."""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.state != "running"


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new version's offline metric must reach before it serves."""

    metric: str = "ndcg@10"
    at_least: float | None = None
    max_drop: float | None = None
    """How much less than the live version's it may be, as a share of it."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train."""

    algorithms: tuple[str, ...] = ()
    """Kinds of models; empty: those of the configuration."""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Hyper-parameters by kind, over the defaults."""
    since: float = 0.0
    """Use events from this time on; 0: all that are kept."""
    promote: bool = True
    """Serve the version when it is done and the gate lets it through."""
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What to evaluate: algorithms, trained anew, by a protocol."""

    algorithms: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol: str = "random-75-25"
    seeds: tuple[int, ...] = (1,)
    k: int = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """When to train without being asked; a field of 0 asks nothing."""

    every_events: int = 0
    period_s: float = 0.0
    ctr_drop: float = 0.0
    """Train when the click-through rate has fallen by this share of what it was after the last promotion."""
    promote: bool = True
    gate: Gate | None = None
