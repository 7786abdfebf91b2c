from __future__ import annotations

import asyncio

from services.recommender.entities import Interactions, Preference
from services.recommender.store.interactions import ALL, Window, pairs, read_interactions
from services.recommender.store.store import RecommenderStore
from tests.unit.recommender.store.records import NOW, PREFERENCES, event


async def read(store: RecommenderStore, window: Window = ALL, **more: Preference) -> tuple[Interactions, int]:
    return await asyncio.to_thread(read_interactions, store.database, {**PREFERENCES, **more}, window)


async def test_weights_add_up_by_the_preferences(store: RecommenderStore) -> None:
    await store.log.append(
        [
            event("ann", "tea", timestamp=NOW),
            event("ann", "tea", event_type="like", timestamp=NOW + 9),
            event("bob", "milk", event_type="rating", value=4.0, timestamp=NOW + 1),
            event("bob", "tea", timestamp=NOW + 2),
            event("bob", "tea", event_type="dislike", timestamp=NOW + 3),
            event("bob", "rice", event_type="unknown"),
            event("", "rice", session_id="s", timestamp=NOW + 4),
        ]
    )
    interactions, sequence = await read(store)
    assert sequence == 7
    assert list(interactions.item_ids) == ["tea", "milk", "rice"]
    assert list(interactions.user_ids) == ["ann", "bob", ""]
    assert interactions.matrix.toarray().tolist() == [[3, 0, 0], [0, 4, 0], [0, 0, 1]]
    assert interactions.times.tolist() == [NOW + 9, NOW + 1, NOW + 4]
    assert [store.catalogue.ids[row] for row in interactions.rows] == list(interactions.item_ids)


async def test_only_what_the_window_shows_counts(store: RecommenderStore) -> None:
    await store.log.append([event("ann", f"item-{each}", timestamp=NOW + each) for each in range(10)])
    interactions, _ = await read(store, Window(since=NOW + 2, until=NOW + 5))
    assert list(interactions.item_ids) == ["item-2", "item-3", "item-4"]
    interactions, sequence = await read(store, Window(sequence=3))
    assert (interactions.matrix.shape, sequence) == ((1, 3), 3)
    interactions, _ = await read(store, view=Preference(threshold=2.0))
    assert interactions.matrix.shape == (0, 0)


async def test_deleted_items_are_left_out(store: RecommenderStore) -> None:
    await store.log.append([event("ann", "tea"), event("ann", "milk")])
    await store.catalogue.delete(["tea"])
    interactions, _ = await read(store)
    assert list(interactions.item_ids) == ["milk"]


async def test_exported_pairs_are_the_matrix(store: RecommenderStore) -> None:
    await store.log.append(
        [event(f"user-{each % 1_111:04}", f"item-{each % 13}", timestamp=NOW + each) for each in range(3_000)]
    )
    interactions, _ = await read(store)
    batches = [each async for each in pairs(store.database, PREFERENCES)]
    assert len(batches) == 3
    exported = [each for batch in batches for each in batch]
    assert [each.user_id for each in exported] == sorted(each.user_id for each in exported)
    matrix = interactions.matrix.tocoo()
    there = {
        (interactions.user_ids[user], interactions.item_ids[column]): (weight, time)
        for user, column, weight, time in zip(
            matrix.row, matrix.col, matrix.data, interactions.times, strict=True
        )
    }
    assert {(each.user_id, each.item_id): (each.weight, each.timestamp) for each in exported} == there
