"""The rpcs that recommend: the read path."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from trunkline.recommender.v1 import recommendations_pb2 as pb
from trunkline.recommender.v1.options_pb2 import RecommendOptions

from services.kit.errors import invalid
from services.recommender.limits import MAX_BATCH_USERS, MAX_RESULTS, check_id, check_ids, check_results
from services.recommender.messages import answers, queries
from services.recommender.messages.times import length
from services.recommender.service.domain import Rpcs
from services.recommender.serving.answer import Recommendations
from services.recommender.serving.query import Query

WATCH_S = 0.05
WATCH_LIMITS_S = (0.01, 60.0)


class RecommendationRpcs(Rpcs):
    """Lists for users, sessions and nobody in particular."""

    async def Recommend(self, request: pb.RecommendRequest, _context: Any) -> pb.RecommendResponse:
        """Recommend items to a user."""
        made = await self._serving.recommender.recommend(queries.recommend_query(request))
        items, provenance = self._encode(made, request.options)
        return pb.RecommendResponse(items=items, provenance=provenance)

    async def RecommendForSession(
        self, request: pb.RecommendForSessionRequest, _context: Any
    ) -> pb.RecommendForSessionResponse:
        """Recommend items to a session."""
        made = await self._serving.recommender.recommend(queries.session_query(request))
        items, provenance = self._encode(made, request.options)
        return pb.RecommendForSessionResponse(items=items, provenance=provenance)

    async def BatchRecommend(
        self, requests: AsyncIterator[pb.BatchRecommendRequest], _context: Any
    ) -> AsyncIterator[pb.BatchRecommendResponse]:
        """Recommend items to many users, message by message."""
        template: Query | None = None
        async for request in requests:
            if template is None:
                template = _batch_query(request.options)
            elif request.HasField("options"):
                raise invalid("options", "may stand in the first message of the stream only")
            user_ids = check_ids("user_ids", request.user_ids, 0, MAX_BATCH_USERS)
            asked = [replace(template, user_id=user_id) for user_id in user_ids]
            made = await self._serving.recommender.recommend_many(asked) if asked else []
            rankings = map(answers.ranking, user_ids, made)
            yield pb.BatchRecommendResponse(rankings=rankings, model_version=self._version())

    async def WatchUser(
        self, request: pb.WatchUserRequest, _context: Any
    ) -> AsyncIterator[pb.WatchUserResponse]:
        """Stream a user's list, and each new one."""
        query = queries.recommend_query(request)
        pause = WATCH_S
        if request.HasField("min_interval"):
            pause = length("min_interval", request.min_interval, *WATCH_LIMITS_S)
        async with aclosing(self._serving.watch.lists(query)) as lists:
            async for made in lists:
                items, provenance = self._encode(made, request.options)
                sequence = self._store.log.sequence
                yield pb.WatchUserResponse(items=items, provenance=provenance, sequence=sequence)
                await asyncio.sleep(pause)  # what changes meanwhile is in the next list

    async def SimilarItems(self, request: pb.SimilarItemsRequest, _context: Any) -> pb.SimilarItemsResponse:
        """Return items like some."""
        found = await self._serving.recommender.similar_items(queries.similar_query(request))
        return pb.SimilarItemsResponse(items=answers.recommendations(found), model_version=self._version())

    async def SimilarUsers(self, request: pb.SimilarUsersRequest, _context: Any) -> pb.SimilarUsersResponse:
        """Return users like one."""
        user_id = check_id("user_id", request.user_id)
        found = await self._serving.recommender.similar_users(user_id, check_results(request.max_results))
        return pb.SimilarUsersResponse(users=answers.scored_users(found), model_version=self._version())

    async def RankItems(self, request: pb.RankItemsRequest, _context: Any) -> pb.RankItemsResponse:
        """Put items in order."""
        made = await self._serving.recommender.rank(queries.rank_query(request))
        return pb.RankItemsResponse(
            items=answers.recommendations(made.items), provenance=answers.provenance(made)
        )

    async def Popular(self, request: pb.PopularRequest, _context: Any) -> pb.PopularResponse:
        """Return what is popular."""
        found = self._serving.recommender.popular(queries.popular_query(request))
        return pb.PopularResponse(items=answers.scored_items(found))

    async def Latest(self, request: pb.LatestRequest, _context: Any) -> pb.LatestResponse:
        """Return what is new."""
        found = self._serving.recommender.latest(queries.latest_query(request))
        times = self._store.catalogue.timestamps
        return pb.LatestResponse(items=answers.dated_items(found, lambda row: float(times[row])))

    async def PredictRating(
        self, request: pb.PredictRatingRequest, _context: Any
    ) -> pb.PredictRatingResponse:
        """Predict the values that a user would give."""
        user_id = check_id("user_id", request.user_id)
        item_ids = check_ids("item_ids", request.item_ids, 1, MAX_RESULTS)
        predicted = await self._serving.recommender.predict_ratings(user_id, item_ids)
        return pb.PredictRatingResponse(
            predictions=answers.predictions(predicted), model_version=self._version()
        )

    def _encode(
        self, made: Recommendations, options: RecommendOptions
    ) -> tuple[list[pb.Recommendation], pb.Provenance]:
        entry = self._store.catalogue.item if options.return_items else None
        items = answers.recommendations(made.items, entry)
        return items, answers.provenance(made, timings=options.return_timings)

    def _version(self) -> str:
        return self._serving.versions.live


def _batch_query(options: RecommendOptions) -> Query:
    for field in ("explain", "return_items", "record_impressions", "return_timings"):
        if getattr(options, field):
            raise invalid(f"options.{field}", "is not to be had in a batch")
    return queries.query(options)
