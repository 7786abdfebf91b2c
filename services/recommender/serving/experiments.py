"""Experiments under way, and what they have shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.recommender.serving.assignment import Experiment, Variant
from services.recommender.serving.statistics import Difference, Rate


@dataclass(frozen=True)
class VariantReport:
    """What one variant has done."""

    name: str
    units: int
    """Users or sessions that were shown something."""
    impressions: int
    """Lists shown."""
    clicks: int
    """Lists with at least one attributed event."""
    conversions: int
    """Lists with at least one attributed event of a conversion type."""
    ctr: Rate
    conversion: Rate
    ctr_difference: Difference | None
    """Against the control; None for the control."""
    conversion_difference: Difference | None


@dataclass(frozen=True)
class Report:
    """All variants, the control first."""

    experiment: Experiment
    variants: tuple[VariantReport, ...]
    sample_ratio_p: float
    """The chance of shares as uneven as these; below 0.001 the comparison means nothing."""

    @property
    def sample_ratio_broken(self) -> bool:
        """Whether the units are not shared out as the weights say."""
        return self.sample_ratio_p < 0.001


class Experiments:
    """Definitions, assignment and reports. Made by `Serving`."""

    async def create(self, experiment: Experiment) -> Experiment:
        """Keep and start an experiment; the same one again changes nothing.

        Raises AlreadyExists (EXPERIMENT_EXISTS) for another of the name, or one that runs on the same scenario;
        InvalidArgument; NotFound (SCENARIO_NOT_FOUND, VERSION_NOT_FOUND).
        """
        raise NotImplementedError

    async def stop(self, name: str) -> Experiment:
        """End an experiment now. Raises NotFound (EXPERIMENT_NOT_FOUND)."""
        raise NotImplementedError

    def experiments(self) -> Sequence[Experiment]:
        """Return all, by name."""
        raise NotImplementedError

    def running(self, scenario: str, now: float) -> Experiment | None:
        """Return the experiment that shares out a scenario at the time `now`."""
        raise NotImplementedError

    async def report(self, name: str) -> Report:
        """Return what an experiment has shown. Raises NotFound (EXPERIMENT_NOT_FOUND)."""
        raise NotImplementedError

    def variant(self, name: str) -> Variant | None:
        """Return the variant of that name of any experiment that runs."""
        raise NotImplementedError
