"""What became of the lists that were recorded as shown: read from the store when asked, so replicas agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from services.recommender.store.impressions import Impression
from services.recommender.store.schema import events
from services.recommender.store.store import RecommenderStore

_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """A shown list, and the types of the events that name it, by the row of their item."""

    shown: Impression
    types: Mapping[int, frozenset[str]]

    @property
    def all_types(self) -> frozenset[str]:
        """The types of all its events."""
        return frozenset().union(*self.types.values())


async def outcomes(store: RecommenderStore, since: float = 0.0) -> AsyncIterator[Outcome]:
    """Yield all lists shown since then (Unix seconds), in order of time, with what followed."""
    await store.impressions.flush()
    followed = await store.database.reading(_followed)
    async for batch in store.impressions.replay(since=since, batch=_BATCH):
        for shown in batch:
            types = followed.get(shown.recommendation_id, {})
            yield Outcome(shown, {row: frozenset(each) for row, each in types.items()})


def _followed(connection: Connection) -> dict[str, dict[int, set[str]]]:
    columns = (events.c.recommendation_id, events.c.item_row, events.c.event_type)
    query = select(*columns).where(events.c.recommendation_id != "").distinct()
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for recommendation_id, row, event_type in connection.execute(query):
        found[recommendation_id][row].add(event_type)
    return found
