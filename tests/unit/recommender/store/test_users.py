from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from services.kit.errors import NotFound
from services.recommender.entities import Event, User
from services.recommender.store.impressions import Impression
from services.recommender.store.registry import Version
from services.recommender.store.schema import METADATA
from services.recommender.store.store import RecommenderStore, StoreOptions
from tests.unit.recommender.store.records import event, history

ANN = User(
    "ann-of-the-test", attributes={"age": 30.0, "likes": ("tea",)}, tags=("new",), embedding=(1.0, 0.5)
)


async def test_a_user_is_as_written(store: RecommenderStore) -> None:
    await store.users.upsert([ANN, User("bob")])
    assert await store.users.get("ann-of-the-test") == ANN
    await store.users.upsert([User("ann-of-the-test")])
    assert await store.users.get("ann-of-the-test") == User("ann-of-the-test")
    assert [each.user_id for each in await store.users.list(limit=1)] == ["ann-of-the-test"]
    assert [each.user_id for each in await store.users.list(after="ann-of-the-test")] == ["bob"]


async def test_a_user_of_whom_only_events_are_known_is_a_user(store: RecommenderStore) -> None:
    with pytest.raises(NotFound):
        await store.users.get("cid")
    await store.log.append([event("cid"), event("cid"), event("", session_id="s")])
    assert await store.users.get("cid") == User("cid")
    await store.users.upsert([ANN])
    assert await store.users.count() == 2


async def test_a_user_can_take_everything_along(store: RecommenderStore) -> None:
    await store.users.upsert([ANN])
    written = [
        event(ANN.user_id, f"item-{each}", value=float(each), impressions=("a",)) for each in range(1_500)
    ]
    await store.log.append(written)
    parts = [each async for each in store.users.export(ANN.user_id)]
    assert [each.user for each in parts] == [ANN, None]
    assert [each for part in parts for each in part.events] == written
    with pytest.raises(NotFound):
        _ = [each async for each in store.users.export("nobody")]


async def test_nothing_is_left_of_an_erased_user(store: RecommenderStore, options: StoreOptions) -> None:
    await _live(store)
    receipt = await store.users.erase(ANN.user_id)
    assert receipt.rows == {"events": 7, "impressions": 2, "users": 1}
    assert receipt.sessions == 1
    assert receipt.cached >= 4
    assert receipt.versions == ("with",)
    assert not any("of-the-test" in word for word in await _words(store))
    assert await history(store, ANN.user_id) == []
    assert await history(store, "bob") == ["tea", "rice"]
    assert store.popularity.counts()[store.catalogue.row("milk")] == 0
    assert store.popularity.counts()[store.catalogue.row("tea")] == 1
    assert await store.impressions.get("shown-to-ann") is None
    again = await store.users.erase(ANN.user_id)
    assert (sum(again.rows.values()), again.versions) == (0, ())
    if store.database.dialect == "sqlite":
        folder = Path(options.url.removeprefix("sqlite:///")).parent
        files = [each.read_bytes() for each in folder.glob("*.db*")]
        assert files
        assert not any(word in each for each in files for word in (b"ann-of-the-test", b"e-of-the-test"))


async def test_versions_know_whether_they_hold_who_was_erased(store: RecommenderStore) -> None:
    await _live(store)
    await store.users.erase(ANN.user_id)
    await store.registry.add(Version("after", sequence=store.log.sequence))
    erased = {each.name: each.erased_since for each in await store.registry.list()}
    assert erased == {"before": 0, "with": 1, "after": 0}


async def _live(store: RecommenderStore) -> None:
    """Let two users live: with attributes, events, a session, lists and versions."""
    await store.users.upsert([ANN, User("bob")])
    await store.users.get(ANN.user_id)
    await store.log.append([event("bob", "tea")])
    await store.registry.add(Version("before", sequence=store.log.sequence))
    events = [event(ANN.user_id, each) for each in ("tea", "milk", "milk", "milk")]
    session = [
        event("", "milk", session_id="s-of-the-test"),
        event("bob", "rice", session_id="s-of-the-test"),
    ]
    both = Event("e-of-the-test", "view", "milk", ANN.user_id, "s-of-the-test")
    await store.log.append([*events, *session, both, event(ANN.user_id, "tea")])
    await store.registry.add(Version("with", sequence=store.log.sequence))
    await store.histories.of([ANN.user_id, "bob"])
    await store.histories.of_sessions(["s-of-the-test"])
    store.impressions.record(Impression("shown-to-ann", (0,), ("ease",), ANN.user_id))
    store.impressions.record(Impression("shown-in-session", (0,), ("ease",), "", "s-of-the-test"))
    store.impressions.record(Impression("shown-to-bob", (0,), ("ease",), "bob"))
    await store.impressions.flush()


async def _words(store: RecommenderStore) -> list[str]:
    """Return all text that the database holds, the sessions of others aside."""

    def work(connection: object) -> list[str]:
        words = []
        for table in METADATA.sorted_tables:
            for row in connection.execute(select(table)):  # type: ignore[attr-defined]
                bob = getattr(row, "user_id", "") == "bob"
                words += [] if bob else [each for each in row if isinstance(each, str)]
        return words

    return await store.database.reading(work)
