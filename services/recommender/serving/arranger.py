"""The arranger: gives candidates the rules, variety and fresh items of their job; fills up short lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import numpy as np

from services.recommender.entities import Floats, Item
from services.recommender.serving.answer import Recommended
from services.recommender.serving.arrangement import Arrangement, Candidate, Limit, Share, explored
from services.recommender.serving.availability import Availability
from services.recommender.serving.boards import Boards
from services.recommender.serving.configuration import BOARDS
from services.recommender.serving.content_index import ContentIndex
from services.recommender.serving.diversity import cosines, mmr
from services.recommender.serving.filters import Mask
from services.recommender.serving.fresh import Fresh
from services.recommender.serving.job import Job
from services.recommender.serving.query import Cap
from services.recommender.serving.topk import top_k
from services.recommender.store.catalogue import Catalogue

_TELLING = 50
"""Items of a history that speak for others by content where no model does."""


class Arranger:
    """Makes lists of candidates. Belongs to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        available: Availability,
        boards: Boards,
        content: ContentIndex,
        fresh: Fresh,
    ) -> None:
        self._catalogue = catalogue
        self._available = available
        self._boards = boards
        self._content = content
        self._fresh = fresh

    def fresh(self, job: Job) -> Sequence[Candidate]:
        """Return the fresh items for the job's slots that are like what its user knows, best first."""
        if job.served is None or not len(rows := self._fresh.rows(job.served)):
            return ()
        mask = self._mask(job)
        rows = rows[mask[rows]]
        if not len(rows):
            return ()
        scores = self._fresh.scores(rows, job.taste)
        order = np.argsort(-scores, kind="stable")[: job.fresh_slots]
        return [
            Candidate(int(rows[each]), float(scores[each]), "fresh") for each in order if scores[each] > 0
        ]

    def arranged(
        self, job: Job, candidates: list[Candidate], fresh: Sequence[Candidate], scores: Callable[[], Floats]
    ) -> list[Recommended]:
        """Return the list of a job with a model: `candidates` best first, `scores` gives (columns,) all."""
        candidates = candidates + self._wanted(job, scores, {each.row for each in candidates})
        order = self._varied(job, candidates) if job.diversity else candidates
        if job.explore:
            order = explored(order, job.explore, job.length, Random(job.query.seed))  # noqa: S311 - no secret
        made = self._arrange(job, order, fresh)
        if len(made) < job.length and job.rules:  # the rules refused too many: all that is left may try
            order = order + self._rest(job, scores(), {each.row for each in order})
            made = self._arrange(job, order, fresh)
        if len(made) < job.length:
            known = {each.row for each in order}
            made = self._arrange(job, order + self._fill(job, job.scenario.fallback, known), fresh)
        return self._listed(job, made)

    def without_model(self, job: Job) -> list[Recommended]:
        """Return the list of a job that no model can tell anything of: boards, then the fallback."""
        named = sorted(job.scenario.sources.items(), key=lambda each: -each[1])
        boards = tuple(name for name, weight in named if name in BOARDS and weight)
        order = self._fill(job, (*boards, *job.scenario.fallback), set())
        return self._listed(job, self._arrange(job, order, ()))

    def _arrange(
        self, job: Job, candidates: Sequence[Candidate], fresh: Sequence[Candidate]
    ) -> list[Candidate]:
        pins = self._pins(job)
        free = (each for each in range(job.length, 0, -1) if each not in pins)
        pinned = {each.row for each in pins.values()}
        for position, each in zip(free, reversed(fresh), strict=False):
            if each.row not in pinned:
                pins[position] = each
        arrangement = Arrangement(job.length, self._limits(job), self._shares(job), pins)
        return arrangement.fill(candidates)

    def _listed(self, job: Job, made: Sequence[Candidate]) -> list[Recommended]:
        ids = self._catalogue.ids
        return [
            Recommended(ids[each.row], each.score, rank, each.source, None, each.row)
            for rank, each in enumerate(made, 1)
            if rank > job.query.offset
        ]

    def _pins(self, job: Job) -> dict[int, Candidate]:
        if not job.rules.pins:
            return {}
        mask, pins = self._available.rows(job.filters), {}
        taken: set[int] = set()
        for pin in job.rules.pins:
            row = self._catalogue.row(pin.item_id)
            if 0 <= row < len(mask) and mask[row] and row not in taken and pin.position <= job.length:
                pins[pin.position] = Candidate(row, 0.0, "pin")
                taken.add(row)
        return pins

    def _limits(self, job: Job) -> list[Limit]:
        return [
            Limit(self._available.rows((each.filter,)), each.at_least, each.at_most)
            for each in job.rules.quotas
        ]

    def _shares(self, job: Job) -> list[Share]:
        return [Share(partial(self._values, each), each.at_most) for each in job.rules.caps]

    def _values(self, cap: Cap, row: int) -> Sequence[str]:
        entry = self._catalogue.entry(row)
        if cap.attribute == "category":
            return entry.categories
        if cap.attribute == "tag":
            return entry.tags
        value = entry.attributes.get(cap.attribute)
        if value is None:
            return ()
        return value if isinstance(value, tuple) else (str(value),)

    def _varied(self, job: Job, candidates: list[Candidate]) -> list[Candidate]:
        scores = np.array([each.score for each in candidates], np.float32)
        if not len(candidates):
            return candidates
        order = mmr(scores, self._likeness(job, candidates), job.diversity, job.length)
        taken = set(order)
        rest = [place for place in range(len(candidates)) if place not in taken]
        return [candidates[place] for place in (*order, *rest)]

    def _likeness(self, job: Job, candidates: Sequence[Candidate]) -> Floats:
        served, rows = job.served, [each.row for each in candidates]
        columns = [served.column(row) if served else -1 for row in rows]
        if served and min(columns) >= 0:
            vectors = [found for name in job.models if (found := served.models[name].vectors()) is not None]
            if vectors:
                return cosines(vectors[0][columns])
        return self._content.between(rows, rows)

    def _wanted(self, job: Job, scores: Callable[[], Floats], known: set[int]) -> list[Candidate]:
        """Return candidates for quotas that ask for some at least, beyond those that are known."""
        found: list[Candidate] = []
        for quota in job.rules.quotas:
            if quota.at_least and job.served is not None:
                mask = self._available.boost(job.served, quota.filter)
                found += self._best(job, np.where(mask, scores(), -np.inf), quota.at_least, known)
                known = known | {each.row for each in found}
        return found

    def _rest(self, job: Job, scores: Floats, known: set[int]) -> list[Candidate]:
        return self._best(job, scores, len(scores), known)

    def _best(self, job: Job, scores: Floats, count: int, known: set[int]) -> list[Candidate]:
        if job.served is None:
            return []
        columns, values = top_k(np.asarray(scores, np.float32)[None, :], count)
        rows = job.served.rows[columns[0]].tolist()
        pairs = zip(rows, values[0].tolist(), strict=True)
        return [
            Candidate(row, value, "blend") for row, value in pairs if value > -np.inf and row not in known
        ]

    def _mask(self, job: Job) -> Mask:
        """Return (rows,) bool: what this job may show."""
        mask = self._available.rows(job.filters).copy()
        if job.included is not None:
            only = np.zeros_like(mask)
            only[job.included[job.included < len(mask)]] = True
            mask &= only
        mask[job.excluded[job.excluded < len(mask)]] = False
        return mask

    def _fill(self, job: Job, names: Sequence[str], known: set[int]) -> list[Candidate]:
        """Return candidates of boards, one board after the other; scores never rise."""
        mask, found, lowest = self._mask(job), list[Candidate](), np.inf
        taken = set(known)
        for name in dict.fromkeys(names):
            room = job.length + len(job.rules.pins) - len(found)
            room = room if not job.rules else 4 * job.length + 50
            if room <= 0:
                break
            for row, score in self._board(job, name, mask, room, taken):
                lowest = min(lowest, score)
                found.append(Candidate(row, float(lowest), name))
                taken.add(row)
        return found

    def _board(
        self, job: Job, name: str, mask: Mask, count: int, without: set[int]
    ) -> list[tuple[int, float]]:
        if name != "profile":
            return self._boards.best(name, mask, count, without=without)
        scores = self._by_content(job)
        if scores is None:
            return []
        open_ = mask[: len(scores)] & (scores[: len(mask)] > 0)
        rows, values = top_k(np.where(open_, scores[: len(mask)], -np.inf)[None, :], count + len(without))
        pairs = zip(rows[0].tolist(), values[0].tolist(), strict=True)
        return [(row, value) for row, value in pairs if value > 0 and row not in without][:count]

    def _by_content(self, job: Job) -> Floats | None:
        """Return (rows,) likeness to what the user chose, or to how the user is described; None: neither."""
        total: Floats | None = None
        latest = np.argsort(-job.taste.recent, kind="stable")[:_TELLING]
        for row, weight in zip(
            job.taste.rows[latest].tolist(), job.taste.weights[latest].tolist(), strict=True
        ):
            part = np.float32(weight) * self._content.likeness(row)
            total = part if total is None else total + part
        user = job.profile
        if user is not None and (user.tags or user.attributes or user.embedding):
            described = Item("", user.tags, user.tags, "", user.attributes, user.embedding)
            part = self._content.like(described)
            total = part if total is None else total + part
        return total
