"""Impressions, versions, experiments, documents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.recommender.store.experiments import Experiment, Experiments, Variant
from services.recommender.store.impressions import Impression, Impressions
from services.recommender.store.registry import MANIFEST, Stage, Version
from services.recommender.store.store import RecommenderStore
from tests.unit.recommender.store.records import NOW, event

SHOWN = Impression("list-1", (3, 1), ("ease", "popular"), "ann", "", NOW, "home", "test", "b", "v1")
TRIAL = Experiment("trial", "home", (Variant("a"), Variant("b", 2.0, "other")), goals={"click": "view"})


async def test_an_event_is_attributed_to_the_place_it_came_from(store: RecommenderStore) -> None:
    store.impressions.record(SHOWN)
    events = [event(recommendation_id=each) for each in ("list-1", "list-1", "unknown", "")]
    for impressions in (store.impressions, Impressions(store.database)):
        await store.impressions.flush()
        found = await impressions.attribute(events, [1, 7, 1, 1])
        assert found[2:] == [None, None]
        assert found[0] is not None
        assert found[1] is not None
        assert (found[0].impression, found[0].position, found[0].source) == (SHOWN, 2, "popular")
        assert (found[1].position, found[1].source) == (0, "")


async def test_how_often_something_was_shown_is_known_at_once(store: RecommenderStore) -> None:
    store.impressions.record(SHOWN)
    assert await store.impressions.shown("ann", NOW) == {3: 1, 1: 1}
    store.impressions.record(replace(SHOWN, recommendation_id="list-2", rows=(3,), timestamp=NOW + 5))
    assert await store.impressions.shown("ann", NOW) == {3: 2, 1: 1}
    assert await store.impressions.shown("ann", NOW + 1) == {3: 1}
    assert await store.impressions.shown("bob", NOW) == {}
    store.impressions.clear()
    assert await store.impressions.shown("ann", NOW) == {3: 2, 1: 1}


async def test_lists_are_replayed_in_order_and_pruned(store: RecommenderStore) -> None:
    for number in range(25):
        store.impressions.record(
            replace(SHOWN, recommendation_id=f"{number:02}", timestamp=NOW + number // 3)
        )
    parts = [each async for each in store.impressions.replay(since=NOW + 1, batch=4)]
    assert [each.recommendation_id for part in parts for each in part] == [
        f"{each:02}" for each in range(3, 25)
    ]
    assert await store.impressions.prune(NOW + 2) == 6
    left = [each async for each in store.impressions.replay(batch=100)]
    assert [len(each) for each in left] == [19]


async def test_one_version_is_live_and_a_rollback_goes_further_back_each_time(
    store: RecommenderStore,
) -> None:
    registry = store.registry
    for number, name in enumerate(("v1", "v2", "v3", "v4")):
        await registry.add(Version(name, created=NOW + number, manifest={"metrics": {"ndcg@10": 0.5}}))
    for name in ("v1", "v2", "v3"):
        assert (await registry.promote(name)).stage is Stage.LIVE
    assert (await registry.rollback(note="worse")).name == "v2"
    assert (await registry.rollback()).name == "v1"
    with pytest.raises(FailedPrecondition):
        await registry.rollback()
    live = await registry.live()
    assert live is not None
    assert (live.name, live.manifest) == ("v1", {"metrics": {"ndcg@10": 0.5}})
    stages = {each.name: (each.stage, each.note) for each in await registry.list()}
    assert stages["v3"] == (Stage.RETIRED, "worse")
    assert stages["v4"] == (Stage.CANDIDATE, "")


async def test_good_versions_have_their_files_and_did_not_fail(store: RecommenderStore) -> None:
    registry = store.registry
    for name in ("v1", "v2", "v3", "v4"):
        await registry.add(Version(name))
        await registry.promote(name)
        if name != "v1":
            registry.path(name).mkdir(parents=True)
            (registry.path(name) / MANIFEST).write_text("{}")
    await registry.fail("v3", "its digest is wrong")
    assert [each.name for each in await registry.good()] == ["v4", "v2"]
    with pytest.raises(FailedPrecondition):
        await registry.promote("v3")
    assert set(await registry.prune(keep=0)) == {"v1", "v2", "v3"}
    assert not registry.path("v2").exists()
    assert registry.path("v4").exists()


async def test_versions_are_named_once_and_safely(store: RecommenderStore) -> None:
    await store.registry.add(Version("v1"))
    with pytest.raises(AlreadyExists):
        await store.registry.add(Version("v1"))
    for name in ("../v1", "", "V1", "a/b"):
        with pytest.raises(InvalidArgument):
            await store.registry.add(Version(name))
    with pytest.raises(NotFound):
        await store.registry.promote("v2")


async def test_an_experiment_is_defined_once_and_ended_once(store: RecommenderStore) -> None:
    created = await store.experiments.create(TRIAL)
    assert await store.experiments.create(TRIAL) == created
    with pytest.raises(AlreadyExists):
        await store.experiments.create(replace(TRIAL, salt="other"))
    with pytest.raises(FailedPrecondition, match="trial"):
        await store.experiments.create(replace(TRIAL, name="second"))
    assert store.experiments.running("home") == created
    ended = await store.experiments.end("trial")
    assert await store.experiments.end("trial") == ended
    assert store.experiments.running("home") is None
    await store.experiments.create(replace(TRIAL, name="second"))
    again = await Experiments.open(store.database)
    assert again.get("trial") == ended
    assert [each.name for each in again.list()] == ["second", "trial"]
    with pytest.raises(NotFound):
        await store.experiments.end("none")


async def test_documents_are_replaced_whole(store: RecommenderStore) -> None:
    assert await store.documents.get("policy") is None
    await store.documents.put("policy", {"events": 5})
    await store.documents.put("policy", {"period": 1.5})
    assert await store.documents.get("policy") == {"period": 1.5}
