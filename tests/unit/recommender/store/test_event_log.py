from __future__ import annotations

import asyncio

import pytest

from services.kit.errors import InvalidArgument, NotFound
from services.recommender.entities import Item
from services.recommender.store.event_log import Stored, WriteMode
from services.recommender.store.store import RecommenderStore, StoreOptions
from tests.unit.recommender.store.records import event, history


async def test_what_was_acknowledged_is_there_after_a_restart(options: StoreOptions) -> None:
    written = [
        event("ann", "tea"),
        event("bob", "milk", session_id="s1", value=3.5, impressions=("tea", "milk")),
    ]
    async with await RecommenderStore.open(options) as store:
        appended = await store.log.append(written)
    async with await RecommenderStore.open(options) as store:
        found = [stored async for stored in store.log.replay()]
        assert [list(each.events) for each in found] == [written]
        assert store.log.sequence == appended.sequence == found[0].sequences[-1]
        assert await history(store, "bob") == ["milk"]


async def test_an_event_is_stored_once_however_often_it_is_sent(store: RecommenderStore) -> None:
    events = [event(item_id=f"item-{number}") for number in range(600)]
    first = await store.log.append(events[:400])
    again = await store.log.append([*events, events[599]])
    assert (first.accepted, first.duplicates) == (400, 0)
    assert (again.accepted, again.duplicates) == (200, 401)
    assert again.sequence > first.sequence
    assert await store.log.count() == 600


async def test_calls_that_wait_together_are_told_of_their_own_events(store: RecommenderStore) -> None:
    known = [event() for _ in range(5)]
    await store.log.append(known)
    calls = [[event(), known[index % 5], event()] for index in range(40)]
    results = await asyncio.gather(*(store.log.append(each) for each in calls))
    assert all((each.accepted, each.duplicates) == (2, 1) for each in results)
    assert await store.log.count() == 5 + 80


async def test_sequences_grow_in_the_order_of_appends(store: RecommenderStore) -> None:
    results = await asyncio.gather(*(store.log.append([event()]) for _ in range(50)))
    sequences = [each.sequence for each in results]
    assert sequences == sorted(sequences)
    assert store.log.sequence == sequences[-1]


async def test_listeners_hear_of_new_events_before_the_caller_does(store: RecommenderStore) -> None:
    heard: list[Stored] = []
    store.log.listen(heard.append)
    one, other = event(), event()
    await store.log.append([one])
    assert [each.events for each in heard] == [[one]]
    await store.log.append([one, other])
    assert [each.events for each in heard] == [[one], [other]]
    assert [store.catalogue.ids[row] for each in heard for row in each.rows] == ["tea", "tea"]


async def test_a_listener_that_fails_harms_nobody_else(store: RecommenderStore) -> None:
    heard: list[Stored] = []
    store.log.listen(lambda _: 1 / 0)
    store.log.listen(heard.append)
    assert (await store.log.append([event()])).accepted == 1
    assert len(heard) == 1


async def test_an_overwriting_event_takes_the_place_of_earlier_ones(store: RecommenderStore) -> None:
    first, second, third = (event(event_type="rating", value=float(value)) for value in (1, 2, 5))
    await store.log.append([first, event(item_id="milk", event_type="rating")])
    await store.histories.of(["ann"])
    await store.log.append([second, third], WriteMode.OVERWRITE)
    stored = [each async for part in store.log.replay() for each in part.events]
    assert third in stored
    assert first not in stored
    assert second not in stored
    kept = (await store.histories.of(["ann"]))[0]
    store.histories.clear()
    read = (await store.histories.of(["ann"]))[0]
    assert kept.values.tolist() == read.values.tolist() == [5.0, 1.0]
    assert (await store.log.append([first], WriteMode.OVERWRITE)).duplicates == 1


async def test_an_ignoring_event_is_dropped_where_there_is_one(store: RecommenderStore) -> None:
    await store.log.append([event(event_type="like")])
    likes = [event(event_type="like"), event("bob", event_type="like"), event("bob", event_type="like")]
    appended = await store.log.append(likes, WriteMode.IGNORE)
    assert (appended.accepted, appended.duplicates) == (1, 2)
    anonymous = [event("", event_type="like", session_id=each) for each in ("s1", "s2", "s1")]
    assert (await store.log.append(anonymous, WriteMode.IGNORE)).accepted == 2


async def test_an_unknown_item_is_entered_with_its_id(store: RecommenderStore) -> None:
    await store.log.append([event(item_id="new"), event(item_id="newer"), event(item_id="new")])
    assert store.catalogue.get("new") == Item("new")
    assert len(store.catalogue) == 2


async def test_an_unknown_item_is_refused_where_items_must_be_known(options: StoreOptions) -> None:
    strict = StoreOptions(options.url, options.models, options.preferences, create_items=False)
    async with await RecommenderStore.open(strict) as store:
        await store.catalogue.upsert([Item("tea")])
        with pytest.raises(NotFound, match="milk"):
            await store.log.append([event(), event(item_id="milk")])
        assert await store.log.count() == 0


async def test_an_event_on_a_deleted_item_does_not_bring_it_back(store: RecommenderStore) -> None:
    await store.catalogue.upsert([Item("tea")])
    await store.catalogue.delete(["tea"])
    await store.log.append([event(item_id="tea")])
    assert "tea" not in store.catalogue
    assert len(store.catalogue) == 1


async def test_values_that_are_no_numbers_are_refused(store: RecommenderStore) -> None:
    with pytest.raises(InvalidArgument):
        await store.log.append([event(value=float("nan"))])


async def test_a_wrong_write_fails_alone(store: RecommenderStore) -> None:
    def fails(_connection: object) -> None:
        raise ValueError("wrong")

    good, bad = store.log.append([event()]), store.database.writing(fails)
    results = await asyncio.gather(good, bad, store.log.append([event()]), return_exceptions=True)
    assert isinstance(results[1], ValueError)
    assert await store.log.count() == 2


async def test_events_can_be_deleted_by_what_they_are(store: RecommenderStore) -> None:
    written = [event("ann", "tea"), event("ann", "milk"), event("bob", "tea", event_type="like")]
    await store.log.append(written)
    await store.histories.of(["ann", "bob"])
    assert await store.log.delete(user_id="ann", item_id="tea") == 1
    assert await history(store, "ann") == ["milk"]
    assert await store.log.delete(event_type="like", since=written[2].timestamp) == 1
    assert await history(store, "bob") == []
    with pytest.raises(InvalidArgument):
        await store.log.delete()


async def test_numbers_are_not_given_twice_after_a_deletion(store: RecommenderStore) -> None:
    before = await store.log.append([event()])
    await store.log.delete(user_id="ann")
    assert (await store.log.append([event()])).sequence > before.sequence


async def test_a_caller_who_leaves_does_not_stop_the_write(store: RecommenderStore) -> None:
    task = asyncio.create_task(store.log.append([event()]))
    await asyncio.sleep(0)
    task.cancel()
    await store.log.append([event()])
    assert await store.log.count() == 2
