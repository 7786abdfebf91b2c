from __future__ import annotations

import numpy as np
import pytest

from services.kit.errors import NotFound
from services.recommender.entities import Item
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.store import RecommenderStore, StoreOptions

TEA = Item(
    "tea",
    categories=("drinks", "hot"),
    tags=("green",),
    text="A leaf.",
    attributes={"price": 3.5, "organic": True, "origin": "Assam", "sizes": ("s", "l")},
    embedding=(0.5, -1.0),
    timestamp=100.0,
)


async def test_an_item_is_as_it_was_written_also_after_a_restart(options: StoreOptions) -> None:
    async with await RecommenderStore.open(options) as store:
        await store.catalogue.upsert([TEA, Item("milk")])
        assert store.catalogue.get("tea") == TEA
    async with await RecommenderStore.open(options) as store:
        assert store.catalogue.get("tea") == TEA
        assert store.catalogue.rows_of(["milk", "tea", "none"]).tolist() == [1, 0, -1]
        embedding = store.catalogue.embedding(0)
        assert embedding is not None
        assert embedding.tolist() == [0.5, -1.0]
        assert store.catalogue.entry(0).embedding == ()


async def test_an_item_keeps_its_row_whatever_becomes_of_it(store: RecommenderStore) -> None:
    catalogue = store.catalogue
    assert (await catalogue.upsert([TEA, Item("milk"), TEA])).tolist() == [0, 1, 0]
    assert await catalogue.delete(["tea", "tea", "none"]) == 1
    with pytest.raises(NotFound):
        catalogue.get("tea")
    assert (await catalogue.upsert([Item("rice"), Item("tea")])).tolist() == [2, 0]
    assert catalogue.get("tea") == Item("tea")


async def test_attributes_stand_in_columns(store: RecommenderStore) -> None:
    catalogue = store.catalogue
    await catalogue.upsert([TEA, Item("milk", attributes={"price": 1, "origin": ("Alps", "Assam")})])
    assert catalogue.attributes["price"].numbers.tolist() == [3.5, 1.0]
    assert catalogue.attributes["organic"].flags.tolist() == [1, -1]
    assert catalogue.attributes["origin"].words.any_of({"Assam"}).tolist() == [True, True]
    assert catalogue.attributes["sizes"].words.of(0) == ("s", "l")
    assert catalogue.categories.rows("hot").tolist() == [0]
    await catalogue.upsert([Item("tea", attributes={"price": "dear"}), Item("rice")])
    assert np.isnan(catalogue.attributes["price"].numbers).tolist() == [True, False, True]
    assert catalogue.attributes["price"].words.any_of(["dear"]).tolist() == [True, False, False]
    assert catalogue.attributes["organic"].flags.tolist() == [-1, -1, -1]
    assert list(catalogue.categories) == []
    await catalogue.delete(["tea"])
    assert not catalogue.attributes["price"].words.any_of(["dear"]).any()


async def test_what_may_be_shown_follows_time_and_changes(store: RecommenderStore) -> None:
    catalogue = store.catalogue
    await catalogue.upsert(
        [
            Item("now"),
            Item("later", valid_from=200.0),
            Item("until", valid_until=300.0),
            Item("not", hidden=True),
        ]
    )
    assert catalogue.servable(100.0).tolist() == [True, False, True, False]
    assert catalogue.servable(250.0).tolist() == [True, True, True, False]
    assert catalogue.servable(300.0).tolist() == [True, True, False, False]
    assert catalogue.servable(199.0).tolist() == [True, False, True, False]
    assert await catalogue.hide(["now", "none"]) == 1
    assert await catalogue.hide(["not"], hidden=False) == 1
    assert catalogue.servable(250.0).tolist() == [False, True, True, True]
    assert catalogue.get("now").hidden
    assert not catalogue.is_servable(0, 250.0)


async def test_items_grow_too_old_to_be_shown(store: RecommenderStore) -> None:
    await store.catalogue.upsert(
        [Item("new", timestamp=1_000.0), Item("old", timestamp=10.0), Item("no time")]
    )
    catalogue = await Catalogue.open(store.database, ttl_s=500.0)
    assert catalogue.servable(1_100.0).tolist() == [True, False, True]
    assert catalogue.servable(1_500.0).tolist() == [False, False, True]


async def test_items_are_listed_by_id_page_by_page(store: RecommenderStore) -> None:
    await store.catalogue.upsert([Item(f"{number:02}") for number in range(20)])
    await store.catalogue.delete(["03"])
    assert [each.item_id for each in store.catalogue.list(limit=4)] == ["00", "01", "02", "04"]
    assert [each.item_id for each in store.catalogue.list(after="17")] == ["18", "19"]


async def test_listeners_hear_what_happened(store: RecommenderStore) -> None:
    heard: list[tuple[str, list[int]]] = []
    store.catalogue.listen(lambda change, rows: heard.append((change, list(rows))))
    before = store.catalogue.version
    await store.catalogue.upsert([TEA])
    await store.catalogue.hide(["tea"])
    await store.catalogue.delete(["tea"])
    assert heard == [("upserted", [0]), ("hidden", [0]), ("deleted", [0])]
    assert store.catalogue.version == before + 3
