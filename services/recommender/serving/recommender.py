"""The recommender's main path: whoever asks, with the history as it stands, gets a list."""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.serving.answer import Prediction, Recommendations, Recommended, SimilarUser
from services.recommender.serving.query import LatestQuery, PopularQuery, Query, RankQuery, SimilarQuery


class Recommender:
    """Answers queries from what is loaded; made by `Serving.open` (serving.py)."""

    async def recommend(self, query: Query) -> Recommendations:
        """Return a list of at most `query.max_results`, shorter where no more items may be shown.

        A user of whom nothing is known gets the scenario's fallback: see `Recommendations.fallback`.
        Raises InvalidArgument for a filter that does not parse (with its position) and numbers out of range,
        NotFound (SCENARIO_NOT_FOUND, VARIANT_NOT_FOUND), ResourceExhausted (QUEUE_FULL).
        """
        raise NotImplementedError

    async def recommend_many(self, queries: Sequence[Query]) -> list[Recommendations]:
        """Return one list a query, in order: as `recommend`, scored together. One wrong query fails all."""
        raise NotImplementedError

    async def similar_items(self, query: SimilarQuery) -> list[Recommended]:
        """Return the servable items most like the given ones, without these.

        Raises NotFound (ITEM_NOT_FOUND) and InvalidArgument (filter, max_results, no item).
        """
        raise NotImplementedError

    async def similar_users(self, user_id: str, max_results: int) -> list[SimilarUser]:
        """Return the users whose taste is most like this one's; none where nothing is known of the user."""
        raise NotImplementedError

    async def rank(self, query: RankQuery) -> Recommendations:
        """Return the given items in the user's order, without those that do not exist or may not be shown.

        Raises as `recommend`.
        """
        raise NotImplementedError

    def popular(self, query: PopularQuery) -> list[Recommended]:
        """Return the leaderboard, of everybody or of one category. Raises InvalidArgument (filter)."""
        raise NotImplementedError

    def latest(self, query: LatestQuery) -> list[Recommended]:
        """Return the newest servable items. Raises InvalidArgument (filter)."""
        raise NotImplementedError

    async def predict_ratings(self, user_id: str, item_ids: Sequence[str]) -> list[Prediction]:
        """Return the value that the user would give each item, in order.

        Raises NotFound (ITEM_NOT_FOUND), and FailedPrecondition (MODEL_NOT_READY) where no model of ratings
        is loaded.
        """
        raise NotImplementedError
