"""WatchUser: a list, and a new one whenever events, or a new version, change it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.recommender.serving.answer import Recommendations
from services.recommender.serving.query import Query


class Watch:
    """Wakes those who watch a user when something happens that could change the list. Made by `Serving`."""

    def lists(self, query: Query) -> AsyncIterator[Recommendations]:
        """Yield the list as it stands, then each one that differs in its items, until the iterator is closed.

        Events that arrive while a list is on its way are joined: the next list knows all of them. Raises as
        `Recommender.recommend`, and ResourceExhausted (QUEUE_FULL) past the most watchers.
        """
        raise NotImplementedError
