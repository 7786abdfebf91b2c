"""The pipeline: a batch of jobs becomes lists. Candidates, filter, blend, rules, diversity, what fills up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from time import perf_counter

import numpy as np

from services.recommender.entities import Floats
from services.recommender.serving.answer import Recommended, Timings
from services.recommender.serving.arrangement import Candidate
from services.recommender.serving.arranger import Arranger
from services.recommender.serving.availability import Availability
from services.recommender.serving.batches import ScoringThread
from services.recommender.serving.boards import Boards
from services.recommender.serving.configuration import BOARDS
from services.recommender.serving.job import Job, in_columns
from services.recommender.serving.scoring import LARGEST, Scored, Work, score
from services.recommender.serving.served import Served

Listed = tuple[list[Recommended], Timings]
_ROOM = 50
"""Candidates beyond four times the list for rules and diversity to choose from."""


class Pipeline:
    """Answers batches of jobs; one batch at a time, in one event loop."""

    def __init__(
        self, available: Availability, boards: Boards, arranger: Arranger, thread: ScoringThread
    ) -> None:
        self._available = available
        self._boards = boards
        self._arranger = arranger
        self._thread = thread

    async def run(self, jobs: Sequence[Job]) -> list[Listed | Exception]:
        """Return a list a job, in order, or the exception that it alone fails with."""
        begun = perf_counter()
        outcomes: list[Listed | Exception] = [([], Timings())] * len(jobs)
        for key, members in _groups(jobs):
            places = [place for place, _ in members]
            group = [job for _, job in members]
            try:
                lists = await self._personal(group, begun) if key else self._others(group, begun)
            except Exception as error:  # noqa: BLE001 - it is the group's, whatever it is
                lists = [error] * len(group)
            for place, made in zip(places, lists, strict=True):
                outcomes[place] = made
        return outcomes

    def _others(self, group: Sequence[Job], begun: float) -> list[Listed | Exception]:
        """Return the lists of those that no model can tell anything of."""
        return [(self._arranger.without_model(job), _timings(job, begun, 0.0, begun)) for job in group]

    async def _personal(self, group: Sequence[Job], begun: float) -> list[Listed | Exception]:
        served = group[0].served
        assert served is not None  # what `personal` says  # noqa: S101
        lists: list[Listed | Exception] = []
        step = max(LARGEST // max(served.items, 1), 1)
        for first in range(0, len(group), step):
            part = group[first : first + step]
            work = self._work(part, served)
            scoring = perf_counter()
            scored = await self._thread.run(served.version, len(part), partial(score, work))
            finishing = perf_counter()
            for place, job in enumerate(part):
                made = self._list(job, served, scored, place)
                lists.append((made, _timings(job, begun, finishing - scoring, finishing)))
        return lists

    def _work(self, group: Sequence[Job], served: Served) -> Work:
        scenario = group[0].scenario
        vectors = {
            name: (weight, self._columns(served, self._boards.scores(name)))
            for name, weight in scenario.sources.items()
            if name in BOARDS and weight
        }
        return Work(
            served=served,
            models=group[0].models,
            vectors=vectors,
            blend=scenario.blend,
            tastes=[job.taste for job in group],
            penalty=self._penalty(group[0], served),
            excluded=[in_columns(served, job.excluded) for job in group],
            included=[None if job.included is None else in_columns(served, job.included) for job in group],
            pools=[job.length if job.plain else 4 * job.length + _ROOM for job in group],
        )

    def _penalty(self, job: Job, served: Served) -> Floats:
        penalty = self._available.columns(served, job.filters)
        for boost in job.rules.boosts:
            raised = np.float32(boost.by) * self._available.boost(served, boost.filter)
            penalty = penalty + raised.astype(np.float32)
        return penalty

    def _list(self, job: Job, served: Served, scored: Scored, place: int) -> list[Recommended]:
        room = job.length if job.plain else 4 * job.length + _ROOM
        columns, values = scored.columns[place, :room], scored.values[place, :room]
        left = int(np.count_nonzero(values > -np.inf))
        fresh = self._arranger.fresh(job) if job.fresh_slots else ()
        if not job.plain or fresh or left < job.length:
            candidates = _candidates(served, scored, place, min(left, room))
            return self._arranger.arranged(job, candidates, fresh, partial(scored.row, place))
        shown = columns[job.query.offset :]
        return [
            Recommended(item_id, value, rank, scored.names[source], None, row)
            for item_id, value, rank, source, row in zip(
                served.ids[shown].tolist(),
                values[job.query.offset :].tolist(),
                range(job.query.offset + 1, job.length + 1),
                scored.sources[place, job.query.offset : room].tolist(),
                served.rows[shown].tolist(),
                strict=True,
            )
        ]

    @staticmethod
    def _columns(served: Served, scores: Floats) -> Floats:
        known = (served.rows >= 0) & (served.rows < len(scores))
        return np.where(known, scores[np.where(known, served.rows, 0)], np.float32(0)).astype(np.float32)


def _candidates(served: Served, scored: Scored, place: int, count: int) -> list[Candidate]:
    columns = scored.columns[place, :count]
    return [
        Candidate(row, value, scored.names[source])
        for row, value, source in zip(
            served.rows[columns].tolist(),
            scored.values[place, :count].tolist(),
            scored.sources[place, :count].tolist(),
            strict=True,
        )
    ]


def _groups(jobs: Sequence[Job]) -> list[tuple[object, list[tuple[int, Job]]]]:
    """Return the jobs that are scored alike together, with their places; those of no model under None."""
    keyed = [(_key(job), place, job) for place, job in enumerate(jobs)]
    keyed.sort(key=lambda each: each[0])
    return [
        (key or None, [(place, job) for _, place, job in members])
        for key, members in groupby(keyed, key=lambda each: each[0])
    ]


def _key(job: Job) -> tuple[object, ...]:
    if not job.personal or job.served is None:
        return ()
    boosts = tuple((each.filter, each.by) for each in job.rules.boosts)
    return (job.served.version, job.scenario.name, job.filters, boosts)


def _timings(job: Job, begun: float, scoring: float, finishing: float) -> Timings:
    return Timings(job.history_s, max(begun - job.begun, 0.0), scoring, perf_counter() - finishing)
