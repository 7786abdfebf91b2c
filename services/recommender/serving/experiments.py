"""Experiments under way, and what they have shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from services.kit.errors import NotFound, Reason, invalid
from services.recommender.serving.assignment import check
from services.recommender.serving.outcomes import Outcome, outcomes
from services.recommender.serving.statistics import Difference, Rate, difference, rate, sample_ratio_p
from services.recommender.store.experiments import Experiment
from services.recommender.store.store import RecommenderStore

BROKEN_BELOW = 0.001
"""A p-value of the sample ratio that says the assignment, or the counting, is wrong."""


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
    """The chance of shares as uneven as these if units are assigned by the weights."""

    @property
    def sample_ratio_broken(self) -> bool:
        """Whether the units are not shared out as the weights say: then nothing else here means anything."""
        return self.sample_ratio_p < BROKEN_BELOW


@dataclass(slots=True)
class _Count:
    units: set[str] = field(default_factory=set)
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0


class Experiments:
    """Definitions and reports. Made by `Serving`."""

    def __init__(
        self, store: RecommenderStore, scenarios: Collection[str], conversions: Collection[str]
    ) -> None:
        self._store = store
        self._scenarios = scenarios
        self._conversions = frozenset(conversions)

    async def create(self, experiment: Experiment) -> Experiment:
        """Keep and start an experiment; the same one again changes nothing.

        Raises AlreadyExists for another of the name, FailedPrecondition (EXPERIMENT_RUNNING),
        InvalidArgument, NotFound (SCENARIO_NOT_FOUND).
        """
        check(experiment)
        if not experiment.scenario:
            raise invalid("experiment.scenario", "must not be empty")
        for name in (experiment.scenario, *(each.scenario for each in experiment.variants)):
            if name and name not in self._scenarios:
                message = f"There is no scenario {name!r}."
                raise NotFound(Reason.SCENARIO_NOT_FOUND, message, metadata={"scenario": name})
        return await self._store.experiments.create(experiment)

    async def stop(self, name: str) -> Experiment:
        """End an experiment now. Raises NotFound (EXPERIMENT_NOT_FOUND)."""
        return await self._store.experiments.end(name)

    def experiments(self) -> Sequence[Experiment]:
        """Return all, by name."""
        return sorted(self._store.experiments.list(), key=lambda each: each.name)

    async def report(self, name: str) -> Report:
        """Return what an experiment has shown. Raises NotFound (EXPERIMENT_NOT_FOUND)."""
        experiment = self._store.experiments.get(name)
        counts = {each.name: _Count() for each in experiment.variants}
        async for outcome in outcomes(self._store, experiment.created):
            if outcome.shown.experiment == name and outcome.shown.variant in counts:
                self._add(counts[outcome.shown.variant], outcome, experiment)
        units = [len(counts[each.name].units) for each in experiment.variants]
        weights = [each.weight for each in experiment.variants]
        return Report(experiment, _reports(experiment, counts), sample_ratio_p(units, weights))

    def _add(self, count: _Count, outcome: Outcome, experiment: Experiment) -> None:
        shown, goals = outcome.shown, experiment.goals or {}
        types = outcome.all_types
        by_session = experiment.unit == "session" and shown.session_id
        count.units.add(shown.session_id if by_session else shown.user_id)
        count.impressions += 1
        count.clicks += goals["click"] in types if "click" in goals else bool(types)
        wanted = {goals["conversion"]} if "conversion" in goals else self._conversions
        count.conversions += bool(types & wanted)


def _reports(experiment: Experiment, counts: Mapping[str, _Count]) -> tuple[VariantReport, ...]:
    control = counts[experiment.variants[0].name]
    return tuple(_report(each.name, counts[each.name], control) for each in experiment.variants)


def _report(name: str, count: _Count, control: _Count) -> VariantReport:
    shown, base, is_control = count.impressions, control.impressions, count is control
    return VariantReport(
        name=name,
        units=len(count.units),
        impressions=shown,
        clicks=count.clicks,
        conversions=count.conversions,
        ctr=rate(count.clicks, shown),
        conversion=rate(count.conversions, shown),
        ctr_difference=None if is_control else difference((control.clicks, base), (count.clicks, shown)),
        conversion_difference=None
        if is_control
        else difference((control.conversions, base), (count.conversions, shown)),
    )
