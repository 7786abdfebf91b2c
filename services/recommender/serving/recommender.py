"""The recommender's main path: whoever asks, with the history as it stands, gets a list."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from services.kit.errors import invalid
from services.recommender.serving.answer import Prediction, Recommendations, Recommended, SimilarUser
from services.recommender.serving.availability import Availability
from services.recommender.serving.batches import Batches
from services.recommender.serving.boards import Boards
from services.recommender.serving.explanation import Explainer
from services.recommender.serving.exploration import Exploration
from services.recommender.serving.job import Job
from services.recommender.serving.neighbours import Neighbours, predictions, similar_users
from services.recommender.serving.pipeline import Listed, Pipeline
from services.recommender.serving.preparation import Preparation
from services.recommender.serving.query import (
    MAX_RESULTS,
    LatestQuery,
    PopularQuery,
    Query,
    RankQuery,
    Seen,
    SimilarQuery,
)
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Tastes
from services.recommender.store.impressions import Impression
from services.recommender.store.store import RecommenderStore

_COMPARED = 2_000
"""Users at hand that SimilarUsers looks at."""


class Recommender:
    """Answers queries from what is loaded; made by `Serving` (serving.py)."""

    def __init__(
        self,
        store: RecommenderStore,
        served: Callable[[], Served | None],
        preparation: Preparation,
        pipeline: Pipeline,
        *,
        tastes: Tastes,
        available: Availability,
        boards: Boards,
        neighbours: Neighbours,
        explainer: Explainer,
        exploration: Exploration,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._served = served
        self._preparation = preparation
        self._pipeline = pipeline
        self._batches: Batches[Job, Listed] = Batches(pipeline.run)
        self._tastes = tastes
        self._available = available
        self._boards = boards
        self._neighbours = neighbours
        self._explainer = explainer
        self._exploration = exploration
        self._clock = clock

    async def close(self) -> None:
        """Refuse what waits."""
        await self._batches.close()

    async def recommend(self, query: Query) -> Recommendations:
        """Return a list of at most `query.max_results`, shorter where no more items may be shown.

        A user of whom nothing is known gets the scenario's fallback: see `Recommendations.fallback`.
        Raises InvalidArgument for a filter that does not parse (with its position) and numbers out of range,
        NotFound (SCENARIO_NOT_FOUND, VARIANT_NOT_FOUND), ResourceExhausted (QUEUE_FULL).
        """
        _check(query.max_results, query.offset)
        (job,) = await self._preparation.prepare([query], self._served())
        job, choice = await self._exploration.decide(job)
        answer = self._finished(job, await self._batches.submit(job))
        self._exploration.shown(answer.recommendation_id, choice)
        return answer

    async def recommend_many(self, queries: Sequence[Query]) -> list[Recommendations]:
        """Return one list a query, in order: as `recommend`, scored together. One wrong query fails all."""
        for query in queries:
            _check(query.max_results, query.offset)
        jobs = await self._preparation.prepare(queries, self._served())
        made = await self._pipeline.run(jobs)
        failures = [each for each in made if isinstance(each, Exception)]
        if failures:
            raise failures[0]
        pairs = zip(jobs, made, strict=True)
        return [self._finished(job, each) for job, each in pairs if not isinstance(each, Exception)]

    async def similar_items(self, query: SimilarQuery) -> list[Recommended]:
        """Return the servable items most like the given ones, without these.

        Raises NotFound (ITEM_NOT_FOUND) and InvalidArgument (filter, max_results, no item).
        """
        _check(query.max_results)
        return self._neighbours.items(query, self._served())

    async def similar_users(self, user_id: str, max_results: int) -> list[SimilarUser]:
        """Return the users whose taste is most like this one's; none where nothing is known of the user."""
        _check(max_results)
        if len(self._store.histories.latest_users(_COMPARED)) < _COMPARED:
            await self._store.histories.warm(_COMPARED)
        ids = [each for each in self._store.histories.latest_users(_COMPARED) if each != user_id]
        mine, *others = await self._store.histories.of([user_id, *ids])
        tastes = [(each, self._tastes.of(each, history)) for each, history in zip(ids, others, strict=True)]
        found = similar_users(self._tastes.of(user_id, mine), tastes, self._served(), max_results + 1)
        return [each for each in found if each.user_id != user_id][:max_results]

    async def rank(self, query: RankQuery) -> Recommendations:
        """Return the given items in the user's order, without those that do not exist or may not be shown.

        Raises as `recommend`.
        """
        if not query.item_ids:
            raise invalid("item_ids", "must name at least one item")
        return await self.recommend(
            Query(
                user_id=query.user_id,
                session_id=query.session_id,
                session=query.session,
                scenario=query.scenario,
                max_results=len(query.item_ids),
                include_item_ids=query.item_ids,
                seen=Seen(exclude=False),
                diversity=0.0,
                explore=0.0,
                explain=query.explain,
            )
        )

    def popular(self, query: PopularQuery) -> list[Recommended]:
        """Return the leaderboard, of everybody or of one category. Raises InvalidArgument (filter)."""
        board = "trending" if query.trending else "popular"
        half_life = 0.0 if query.trending else query.half_life_s
        found = self._board(board, query.category, query.filter, query.max_results, half_life)
        return [each for each in found if each.score > 0]

    def latest(self, query: LatestQuery) -> list[Recommended]:
        """Return the newest servable items. Raises InvalidArgument (filter)."""
        return self._board("latest", query.category, query.filter, query.max_results, 0.0)

    async def predict_ratings(self, user_id: str, item_ids: Sequence[str]) -> list[Prediction]:
        """Return the value that the user would give each item, in order.

        Raises NotFound (ITEM_NOT_FOUND), and FailedPrecondition (MODEL_NOT_TRAINED) where no model of values
        is loaded.
        """
        self._neighbours.rows(item_ids)
        (history,) = await self._store.histories.of([user_id])
        taste = self._tastes.of(user_id, history)
        return predictions(taste, item_ids, self._store.catalogue.row, self._served())

    def _board(
        self, name: str, category: str, text: str, max_results: int, half_life: float
    ) -> list[Recommended]:
        _check(max_results)
        mask = self._available.rows((text,) if text else ())
        if category:
            mask = mask & self._store.catalogue.categories.any_of([category])
        ids = self._store.catalogue.ids
        best = self._boards.best(name, mask, max_results, half_life)
        return [
            Recommended(ids[row], score, rank, name, None, row) for rank, (row, score) in enumerate(best, 1)
        ]

    def _finished(self, job: Job, made: Listed) -> Recommendations:
        items, timings = made
        if job.query.explain:
            self._explainer.explain(job, items)
        answer = Recommendations(
            items=items,
            recommendation_id=os.urandom(12).hex(),
            scenario=job.scenario.name,
            model_version=job.served.version if job.served else "",
            experiment=job.experiment,
            variant=job.variant,
            fallback=job.fallback,
            timings=timings,
        )
        if job.query.record_impression:
            self._store.impressions.record(self._impression(job, answer))
        return answer

    def _impression(self, job: Job, answer: Recommendations) -> Impression:
        return Impression(
            recommendation_id=answer.recommendation_id,
            rows=tuple(each.row for each in answer.items),
            sources=tuple(each.source for each in answer.items),
            user_id=job.query.user_id,
            session_id=job.query.session_id,
            timestamp=self._clock(),
            scenario=answer.scenario,
            experiment=answer.experiment,
            variant=answer.variant,
            version=answer.model_version,
        )


def _check(max_results: int, offset: int = 0) -> None:
    if not 1 <= max_results <= MAX_RESULTS:
        raise invalid("max_results", f"must be from 1 to {MAX_RESULTS}, not {max_results}")
    if not 0 <= offset <= MAX_RESULTS - max_results:
        raise invalid("offset", f"must be from 0 to {MAX_RESULTS} with max_results, not {offset}")
