"""What the controller knows of workers, what operators have decided, and the routes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType


class Task(StrEnum):
    """What a model does: `trunkline.inference.v1.Task`, without its prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    GENERATE = "GENERATE"
    EMBED = "EMBED"


@dataclass(frozen=True)
class ModelState:
    """A version of a model on one worker, as far as routes depend on it."""

    model: str
    version: str
    ready: bool
    task: Task = Task.UNSPECIFIED
    tokenizer_digest: str = ""
    context_length: int = 0
    dimensions: int = 0
    ready_since: datetime | None = None


@dataclass(frozen=True)
class WorkerState:
    """A worker as its own status stream, or the lack of one, shows it."""

    address: str
    """Its name: where fronts dial it."""
    endpoint: str
    """Where Envoy dials it: the same as IP address and port. Empty while its name does not resolve."""
    reachable: bool = False
    draining: bool = False
    models: tuple[ModelState, ...] = ()
    """What it said last, also while it is not reachable: its models are known, and not ready."""


@dataclass(frozen=True)
class Overrides:
    """What operators have decided."""

    shares: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    """For each model the percent of its traffic by version, 100 in all."""
    drained: frozenset[str] = frozenset()
    """Addresses of workers that are taken out of the routes."""

    def __post_init__(self) -> None:
        if any(sum(shares.values()) != 100 for shares in self.shares.values()):
            raise ValueError(f"shares that do not add up to 100: {self.shares}")


@dataclass(frozen=True)
class VersionRoute:
    """How a version of a model is reached."""

    version: str
    traffic_percent: int
    workers: tuple[str, ...]
    tokenizer_digest: str = ""
    context_length: int = 0
    dimensions: int = 0
    ready_since: datetime | None = None


@dataclass(frozen=True)
class ModelRoute:
    """How a model is reached; its versions newest first."""

    model: str
    task: Task
    versions: tuple[VersionRoute, ...]

    def __post_init__(self) -> None:
        total = sum(version.traffic_percent for version in self.versions)
        if total not in {0, 100}:
            raise ValueError(f"{self.model}'s shares add up to {total}")


@dataclass(frozen=True)
class WorkerRoute:
    """A worker as routes see it."""

    address: str
    endpoint: str
    reachable: bool
    drained: bool


@dataclass(frozen=True)
class RouteTable:
    """All routes at one revision: models by name, workers by address."""

    revision: int
    models: tuple[ModelRoute, ...]
    workers: tuple[WorkerRoute, ...]
    changed_at: datetime

    def model(self, name: str) -> ModelRoute | None:
        """Return the route of a model, None where it is not known."""
        return next((each for each in self.models if each.model == name), None)

    def worker(self, address: str) -> WorkerRoute | None:
        """Return a worker, None where it is not known."""
        return next((each for each in self.workers if each.address == address), None)
