from __future__ import annotations

import numpy as np
import pytest

from services.recommender.store.counters import Popularity
from services.recommender.store.event_log import WriteMode
from services.recommender.store.store import RecommenderStore
from tests.unit.recommender.store.records import NOW, PREFERENCES, event

DAY = 86_400.0


async def test_a_choice_counts_half_after_its_half_life(store: RecommenderStore) -> None:
    await store.log.append(
        [event(item_id="old", timestamp=NOW), event(item_id="new", timestamp=NOW + 7 * DAY)]
    )
    assert store.popularity.scores(7 * DAY, NOW + 7 * DAY) == pytest.approx([0.5, 1.0])
    assert store.popularity.scores(8 * DAY, NOW + 99 * DAY) == pytest.approx([0.5, 1.0])
    assert store.popularity.counts().tolist() == [1.0, 1.0]


async def test_types_count_by_their_preferences(store: RecommenderStore) -> None:
    kinds = ("like", "dislike", "rating", "unknown")
    events = [event(item_id=each, event_type=each, value=4.0, timestamp=NOW) for each in kinds]
    await store.log.append(events)
    assert store.popularity.scores(DAY, NOW) == pytest.approx([2.0, 0.0, 4.0, 0.0])


async def test_counting_what_is_stored_is_what_was_counted(store: RecommenderStore) -> None:
    for turn in range(20):
        events = [
            event(
                f"user-{turn % 3}",
                f"item-{each % 7}",
                event_type="rating",
                value=each % 5,
                timestamp=NOW + turn * DAY,
            )
            for each in range(turn)
        ]
        await store.log.append(events, WriteMode(turn % 3))
    again = await Popularity.open(store.database, PREFERENCES)
    again.grow(len(store.catalogue))
    assert again.counts() == pytest.approx(store.popularity.counts())
    for half_life in again.half_lives:
        scores = store.popularity.scores(half_life, NOW + 20 * DAY)
        assert again.scores(half_life, NOW + 20 * DAY) == pytest.approx(scores, rel=0.05, abs=1e-3)


async def test_years_of_choices_neither_overflow_nor_vanish(store: RecommenderStore) -> None:
    events = [event(item_id=f"item-{year}", timestamp=NOW + year * 365 * DAY) for year in range(12)]
    for each in events:
        await store.log.append([each])
    scores = store.popularity.scores(30 * DAY, NOW + 50 * 365 * DAY)
    assert np.isfinite(scores).all()
    assert scores[-1] == pytest.approx(1.0)
    assert scores[-1] > scores[-2] > 0


async def test_what_is_chosen_more_than_usual_trends(store: RecommenderStore) -> None:
    usual = [event(item_id="usual", timestamp=NOW + hour * 3_600) for hour in range(24 * 60)]
    sudden = [event(item_id="sudden", timestamp=NOW + 60 * DAY - each) for each in range(60)]
    await store.log.append(usual)
    await store.log.append(sudden)
    trending = store.popularity.trending(NOW + 60 * DAY)
    assert trending[1] > 5 * trending[0]
    assert trending[0] == pytest.approx(1.0, abs=0.4)
    assert await store.log.delete(item_id="sudden") == 60
    assert store.popularity.trending(NOW + 60 * DAY)[1] == pytest.approx(1.0, abs=0.1)
