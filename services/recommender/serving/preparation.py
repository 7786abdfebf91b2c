"""Preparation: who asks, with which history, by which scenario, and what must not be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from services.kit.errors import NotFound, Reason
from services.recommender.entities import Event, History, Rows
from services.recommender.serving.assignment import assign
from services.recommender.serving.configuration import DEFAULT, Scenario
from services.recommender.serving.filters import Filters
from services.recommender.serving.job import Job, in_columns
from services.recommender.serving.query import Query, Rules, Seen
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Tastes
from services.recommender.store.experiments import Experiment
from services.recommender.store.store import RecommenderStore

_NOBODY = History(np.empty(0, np.int32), (), np.empty(0, np.float32), np.empty(0, np.float64))
_NONE: Rows = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class _Way:
    """By which pipeline a query is answered."""

    scenario: Scenario
    experiment: str = ""
    variant: str = ""


class Preparation:
    """Makes jobs of queries."""

    def __init__(
        self,
        store: RecommenderStore,
        scenarios: Mapping[str, Scenario],
        tastes: Tastes,
        filters: Filters,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._scenarios = scenarios
        self._tastes = tastes
        self._filters = filters
        self._clock = clock
        self._named: tuple[Served | None, dict[str, dict[str, float]]] = (None, {})

    async def prepare(self, queries: Sequence[Query], served: Served | None) -> list[Job]:
        """Return a job a query; histories not at hand are read together. Raises as `recommend`."""
        begun = perf_counter()
        ways = [self._way(each) for each in queries]
        histories = await self._histories(queries)
        took = perf_counter() - begun
        jobs = [
            self._job(query, way, history, served, took)
            for query, way, history in zip(queries, ways, histories, strict=True)
        ]
        return [each if _complete(each) else await self._completed(each) for each in jobs]

    def scenario(self, name: str) -> Scenario:
        """Return the scenario; raises NotFound (SCENARIO_NOT_FOUND)."""
        found = self._scenarios.get(name or DEFAULT)
        if found is None:
            message = f"There is no scenario {name!r}."
            raise NotFound(Reason.SCENARIO_NOT_FOUND, message, metadata={"scenario": name})
        return found

    def _way(self, query: Query) -> _Way:
        scenario = self.scenario(query.scenario)
        running = self._store.experiments.running(scenario.name)
        if running is None:
            if query.variant:
                raise _no_variant(query.variant)
            return _Way(scenario)
        variant = next((each for each in running.variants if each.name == query.variant), None)
        if query.variant and variant is None:
            raise _no_variant(query.variant)
        unit = _unit(running, query)
        if variant is None:
            if not unit:  # nobody to assign
                return _Way(scenario)
            variant = assign(running, unit)
        return _Way(self.scenario(variant.scenario or scenario.name), running.name, variant.name)

    async def _histories(self, queries: Sequence[Query]) -> list[History]:
        known = [self._store.histories.at_hand(each.user_id) if each.user_id else _NOBODY for each in queries]
        missing = [place for place, history in enumerate(known) if history is None]
        if missing:
            read = await self._store.histories.of([queries[place].user_id for place in missing])
            for place, history in zip(missing, read, strict=True):
                known[place] = history
        sessions = [place for place, each in enumerate(queries) if each.session_id]
        if sessions:
            read = await self._store.histories.of_sessions([queries[place].session_id for place in sessions])
            for place, history in zip(sessions, read, strict=True):
                known[place] = _joined(known[place] or _NOBODY, history)
        return [
            _joined(history or _NOBODY, self._told(query.session)) if query.session else history or _NOBODY
            for query, history in zip(queries, known, strict=True)
        ]

    def _told(self, events: Sequence[Event]) -> History:
        rows = self._store.catalogue.rows_of([each.item_id for each in events])
        now = self._clock()
        there = [(int(row), each) for row, each in zip(rows, events, strict=True) if row >= 0]
        return History(
            rows=np.array([row for row, _ in there], np.int32),
            types=tuple(each.event_type for _, each in there),
            values=np.array([each.value for _, each in there], np.float32),
            times=np.array([each.timestamp or now for _, each in there], np.float64),
        )

    def _job(self, query: Query, way: _Way, history: History, served: Served | None, took: float) -> Job:
        # A taste is kept for users whose history is theirs alone.
        own = query.user_id if not (query.session_id or query.session) else ""
        taste = self._tastes.of(own, history) if own else self._tastes.make(history)
        seen = query.seen or way.scenario.seen
        included = query.include_item_ids
        rules = _both(way.scenario.rules, query.rules)
        return Job(
            query=query,
            scenario=way.scenario,
            taste=taste,
            served=served,
            excluded=self._excluded(query, seen, taste.seen, history),
            included=self._rows(included) if included else None,
            rules=rules,
            filters=self._checked(way.scenario, query),
            experiment=way.experiment,
            variant=way.variant,
            begun=perf_counter(),
            history_s=took,
            models=self._models(way.scenario, served),
            known=in_columns(served, taste.rows),
        )

    def _models(self, scenario: Scenario, served: Served | None) -> dict[str, float]:
        """Return the version's models that the scenario names, with weights; found once a version."""
        if served is None:
            return {}
        if self._named[0] is not served:
            self._named = (served, {})
        found = self._named[1].get(scenario.name)
        if found is None:
            found = self._named[1][scenario.name] = served.sources(scenario.sources)
        return found

    def _excluded(self, query: Query, seen: Seen, marked: Rows, history: History) -> Rows:
        if not seen.exclude:
            rows = _NONE
        elif seen.types or seen.window_s:
            since = self._clock() - seen.window_s if seen.window_s else 0.0
            rows = self._tastes.seen(history, seen.types, since)
        else:
            rows = marked
        if not query.exclude_item_ids:
            return rows
        return np.concatenate([rows, self._rows(query.exclude_item_ids)])

    def _rows(self, item_ids: Sequence[str]) -> Rows:
        rows = self._store.catalogue.rows_of(item_ids)
        return rows[rows >= 0]

    def _checked(self, scenario: Scenario, query: Query) -> tuple[str, ...]:
        if query.filter:
            self._filters.tree(query.filter, "options.filter")
        for index, boost in enumerate(query.rules.boosts):
            self._filters.tree(boost.filter, f"options.boosts[{index}].filter")
        for index, quota in enumerate(query.rules.quotas):
            self._filters.tree(quota.filter, f"options.quotas[{index}].filter")
        return tuple(each for each in (scenario.filter, query.filter) if each)

    async def _completed(self, job: Job) -> Job:
        """Return the job with what only some need: the profile, and what was shown often enough."""
        frequency, user_id = job.rules.frequency, job.query.user_id
        if not job.personal:
            job = replace(job, profile=await self._store.users.find(user_id))
        if frequency is None:
            return job
        shown = await self._store.impressions.shown(user_id, self._clock() - frequency.window_s)
        often = [row for row, times in shown.items() if times >= frequency.times]
        return replace(job, excluded=np.concatenate([job.excluded, np.array(often, np.int32)]))


def _complete(job: Job) -> bool:
    return not job.query.user_id or (job.rules.frequency is None and job.personal)


def _unit(experiment: Experiment, query: Query) -> str:
    return query.session_id or query.user_id if experiment.unit == "session" else query.user_id


def _joined(one: History, other: History) -> History:
    """Return both, `other` being the later."""
    if not len(one):
        return other
    return History(
        rows=np.concatenate([one.rows, other.rows]),
        types=one.types + other.types,
        values=np.concatenate([one.values, other.values]),
        times=np.concatenate([one.times, other.times]),
    )


def _both(one: Rules, other: Rules) -> Rules:
    if not other:
        return one
    return Rules(
        pins=one.pins + other.pins,
        boosts=one.boosts + other.boosts,
        quotas=one.quotas + other.quotas,
        caps=one.caps + other.caps,
        frequency=other.frequency or one.frequency,
    )


def _no_variant(name: str) -> NotFound:
    message = f"No experiment with a variant {name!r} runs for this scenario."
    return NotFound(Reason.VARIANT_NOT_FOUND, message, metadata={"variant": name})
