"""Events and items in few words."""

from __future__ import annotations

from itertools import count

from services.recommender.entities import Event, Preference
from services.recommender.store.store import RecommenderStore

NOW = 1_700_000_000.0
PREFERENCES = {
    "view": Preference(weight=1.0),
    "rating": Preference(weight=1.0, by_value=True),
    "like": Preference(weight=2.0),
    "dislike": Preference(weight=-1.0),
}
_IDS = count()


def event(user_id: str = "ann", item_id: str = "tea", **more: object) -> Event:
    """Return an event with an id of its own, a second after the one before."""
    number = next(_IDS)
    values = {"event_id": f"event-{number}", "event_type": "view", "timestamp": NOW + number, **more}
    return Event(item_id=item_id, user_id=user_id, **values)  # type: ignore[arg-type]


def item_ids(store: RecommenderStore, rows: object) -> list[str]:
    """Return the ids of rows."""
    return [store.catalogue.ids[row] for row in rows]  # type: ignore[attr-defined]


async def history(store: RecommenderStore, user_id: str) -> list[str]:
    """Return the items of a user's history, oldest first."""
    return item_ids(store, (await store.histories.of([user_id]))[0].rows)
