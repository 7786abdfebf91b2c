"""Two processes' worth of stores over one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.recommender.entities import Item
from services.recommender.store.event_log import Stored
from services.recommender.store.experiments import Experiment, Variant
from services.recommender.store.store import RecommenderStore, StoreOptions
from tests.eventually import eventually
from tests.unit.recommender.store.records import event, history


@pytest.fixture
async def other(store: RecommenderStore, options: StoreOptions) -> AsyncIterator[RecommenderStore]:
    async with await RecommenderStore.open(options) as opened:
        yield opened


async def test_what_one_writes_the_other_sees_once(store: RecommenderStore, other: RecommenderStore) -> None:
    heard: list[Stored] = []
    other.log.listen(heard.append)
    await other.histories.of(["ann"])
    await store.catalogue.upsert([Item("tea", categories=("hot",))])
    await store.log.append([event("ann", "tea"), event("ann", "milk")])
    await other.log.append([event("ann", "rice")])
    await other.following.look()
    await other.following.look()
    assert await history(other, "ann") == ["tea", "milk", "rice"]
    assert sum(len(each.events) for each in heard) == 3
    assert other.catalogue.get("tea").categories == ("hot",)
    assert list(other.catalogue.ids) == ["tea", "milk", "rice"]
    assert other.popularity.counts().tolist() == [1, 1, 1]
    assert other.log.sequence == 3


async def test_rows_and_numbers_are_the_same_for_both(
    store: RecommenderStore, other: RecommenderStore
) -> None:
    first = await store.log.append([event("ann", "tea")])
    second = await other.log.append([event("bob", "milk"), event("bob", "tea")])
    third = await store.log.append([event("ann", "milk")])
    assert first.sequence < second.sequence < third.sequence
    for each in (store, other):
        await each.following.look()
        assert list(each.catalogue.ids) == ["tea", "milk"]
        assert await history(each, "bob") == ["milk", "tea"]


async def test_an_event_sent_to_both_is_stored_once(store: RecommenderStore, other: RecommenderStore) -> None:
    sent = event()
    assert (await store.log.append([sent])).accepted == 1
    assert (await other.log.append([sent])).duplicates == 1


async def test_an_erasure_reaches_the_other(store: RecommenderStore, other: RecommenderStore) -> None:
    await store.log.append([event("ann", "tea"), event("bob", "tea")])
    await other.following.look()
    assert await history(other, "ann") == ["tea"]
    await store.catalogue.delete(["tea"])
    await store.users.erase("ann")
    await other.following.look()
    assert await history(other, "ann") == []
    assert other.popularity.counts().tolist() == [1]
    assert "tea" not in other.catalogue


async def test_those_who_follow_need_not_be_told(store: RecommenderStore, options: StoreOptions) -> None:
    async with await RecommenderStore.open(replace(options, follow=True)) as follower:
        await store.log.append([event("ann", "tea")])
        await store.experiments.create(Experiment("trial", "home", (Variant("a"), Variant("b"))))

        async def seen() -> bool:
            return follower.experiments.running("home") is not None and await history(follower, "ann") == [
                "tea"
            ]

        await eventually(seen, within=60)
