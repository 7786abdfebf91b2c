"""The definitions of experiments; who takes part in which variant follows from a hash and is stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.recommender.store.database import Database


@dataclass(frozen=True)
class Variant:
    """One arm."""

    name: str
    weight: float = 1.0
    """Its share is this over the sum of all."""
    scenario: str = ""
    """The pipeline it is answered by."""


@dataclass(frozen=True)
class Experiment:
    """Two or more variants of one scenario."""

    name: str
    scenario: str
    """Queries for this scenario take part."""
    variants: tuple[Variant, ...]
    unit: Literal["user", "session"] = "user"
    salt: str = ""
    """Another salt is another assignment; empty: the name."""
    goals: Mapping[str, str] | None = None
    """The event types that count: {"click": …, "conversion": …}."""
    created: float = 0.0
    ended: float = 0.0
    """0: running."""


class Experiments:
    """The experiments, in memory and on disk."""

    @classmethod
    async def open(cls, database: Database) -> Experiments:
        """Read the definitions."""
        raise NotImplementedError

    async def create(self, experiment: Experiment) -> Experiment:
        """Store a definition and return it, with its time. The same again is a retry.

        Raises AlreadyExists (another definition has the name), FailedPrecondition (its scenario has one that
        runs).
        """
        raise NotImplementedError

    def get(self, name: str) -> Experiment:
        """Return the definition; raises NotFound (EXPERIMENT_NOT_FOUND)."""
        raise NotImplementedError

    def list(self) -> list[Experiment]:
        """Return all, the newest first."""
        raise NotImplementedError

    def running(self, scenario: str) -> Experiment | None:
        """Return the one that runs on a scenario. Synchronous, for hot paths."""
        raise NotImplementedError

    async def end(self, name: str) -> Experiment:
        """End it; idempotent. Raises NotFound."""
        raise NotImplementedError
