"""Lists for users and sessions, from a store on SQLite and a version trained by a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.kit.errors import FailedPrecondition, InvalidArgument, NotFound
from services.recommender.entities import Event
from services.recommender.serving.answer import Recommended
from services.recommender.serving.query import (
    Boost,
    Cap,
    FrequencyCap,
    Pin,
    PopularQuery,
    Query,
    Quota,
    RankQuery,
    Rules,
    Seen,
    SimilarQuery,
)
from tests.unit.recommender.serving.worlds import FILMS, World, film


def ids(items: Sequence[Recommended]) -> list[str]:
    return [each.item_id for each in items]


def genres(items: Sequence[Recommended]) -> set[str]:
    return {each.item_id.partition("-")[0] for each in items}


async def test_a_viewer_of_war_films_is_shown_those_not_seen_yet(world: World):
    made = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=FILMS // 2))
    assert set(ids(made.items)) == {f"war-{number}" for number in range(FILMS // 2, FILMS)}
    assert made.fallback == ""
    assert made.model_version == world.serving.versions.live
    assert [each.rank for each in made.items] == list(range(1, 7))
    assert [each.score for each in made.items] == sorted((each.score for each in made.items), reverse=True)


async def test_an_event_changes_the_next_list_without_training(world: World):
    before = await world.serving.recommender.recommend(Query("newcomer", max_results=4))
    assert before.fallback == "cold_start"
    await world.see("newcomer", "comedy-1", "comedy-2", "comedy-3")
    after = await world.serving.recommender.recommend(Query("newcomer", max_results=4))
    assert after.fallback == ""
    assert genres(after.items) == {"comedy"}
    assert not {"comedy-1", "comedy-2", "comedy-3"} & set(ids(after.items))


async def test_an_anonymous_session_gets_a_list_of_its_own(world: World):
    events = (Event("", "view", "war-1"), Event("", "view", "unheard-of"), Event("", "view", "war-2"))
    told = await world.serving.recommender.recommend(Query(session=events, max_results=4))
    assert (told.fallback, genres(told.items)) == ("", {"war"})
    await world.see("", "comedy-1", "comedy-2", session_id="session")
    recorded = await world.serving.recommender.recommend(Query(session_id="session", max_results=4))
    assert (recorded.fallback, genres(recorded.items)) == ("", {"comedy"})


async def test_nobody_in_particular_gets_what_is_popular(world: World):
    made = await world.serving.recommender.recommend(Query(max_results=5))
    assert made.fallback == "not_personal"
    assert len(made.items) == 5


async def test_concurrent_and_batched_answers_are_those_of_one_alone(world: World):
    users = [f"{genre}-viewer-{viewer}" for genre in ("war", "comedy") for viewer in range(20)]
    alone = [ids((await world.serving.recommender.recommend(Query(user))).items) for user in users]
    together = await asyncio.gather(*(world.serving.recommender.recommend(Query(user)) for user in users))
    assert [ids(each.items) for each in together] == alone
    batch = await world.serving.recommender.recommend_many([Query(user) for user in users])
    assert [ids(each.items) for each in batch] == alone


async def test_an_offset_passes_over_the_best(world: World):
    whole = await world.serving.recommender.recommend(Query("war-viewer-1", max_results=10))
    rest = await world.serving.recommender.recommend(Query("war-viewer-1", max_results=7, offset=3))
    assert ids(rest.items) == ids(whole.items)[3:]
    assert rest.items[0].rank == 4


async def test_hidden_and_deleted_items_vanish_at_once(world: World):
    query = Query("war-viewer-0", max_results=20)
    assert {"war-7", "war-8"} <= set(ids((await world.serving.recommender.recommend(query)).items))
    await world.store.catalogue.hide(["war-7"])
    await world.store.catalogue.delete(["war-8"])
    assert not {"war-7", "war-8"} & set(ids((await world.serving.recommender.recommend(query)).items))


async def test_filters_and_lists_of_ids_hold_for_every_item(world: World):
    recommend = world.serving.recommender.recommend
    cheap = await recommend(Query("war-viewer-0", filter='category == "war" and price < 9', max_results=20))
    assert set(ids(cheap.items)) == {"war-6", "war-7", "war-8"}
    only = await recommend(Query("war-viewer-0", include_item_ids=("war-9", "comedy-1", "war-0")))
    assert ids(only.items) == ["war-9", "comedy-1"]
    without = await recommend(Query("war-viewer-0", exclude_item_ids=("war-9",), max_results=20))
    assert "war-9" not in ids(without.items)


async def test_seen_items_come_back_where_they_may(world: World):
    made = await world.serving.recommender.recommend(
        Query("war-viewer-0", seen=Seen(exclude=False), max_results=12)
    )
    assert genres(made.items) == {"war"}


async def test_rules_pin_boost_limit_and_demand(world: World):
    recommend = world.serving.recommender.recommend
    pinned = await recommend(Query("war-viewer-0", rules=Rules(pins=(Pin("comedy-3", 2),))))
    assert ids(pinned.items)[1] == "comedy-3"
    assert pinned.items[1].source == "pin"
    boosted = await recommend(
        Query("war-viewer-0", rules=Rules(boosts=(Boost('category == "comedy"', 9.0),)), max_results=5)
    )
    assert genres(boosted.items) == {"comedy"}
    quota = Rules(quotas=(Quota('category == "comedy"', at_least=2), Quota('category == "war"', at_most=3)))
    shared = await recommend(Query("war-viewer-0", rules=quota, max_results=5))
    assert sum(each.startswith("war") for each in ids(shared.items)) == 3
    capped = await recommend(Query("war-viewer-0", rules=Rules(caps=(Cap("studio", 1),)), max_results=3))
    assert {int(each.rpartition("-")[2]) % 3 for each in ids(capped.items)} == {0, 1, 2}


async def test_what_was_shown_often_enough_gives_way(world: World):
    query = Query(
        "war-viewer-0",
        max_results=3,
        record_impression=True,
        rules=Rules(frequency=FrequencyCap(2, 3_600.0)),
    )
    first = await world.serving.recommender.recommend(query)
    second = await world.serving.recommender.recommend(query)
    third = await world.serving.recommender.recommend(query)
    assert ids(first.items) == ids(second.items)
    assert not set(ids(first.items)) & set(ids(third.items))


async def test_variety_brings_another_genre_in(world: World):
    alike = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=4))
    varied = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=4, diversity=0.9))
    assert genres(alike.items) == {"war"}
    assert genres(varied.items) == {"war", "comedy"}
    assert varied.items[0].item_id == alike.items[0].item_id


async def test_exploration_is_repeatable_by_its_seed(world: World):
    query = Query("war-viewer-0", max_results=5, explore=0.5, seed=7)
    first = await world.serving.recommender.recommend(query)
    second = await world.serving.recommender.recommend(query)
    assert ids(first.items) == ids(second.items)
    assert "explore" in {each.source for each in first.items}


async def test_explanations_name_what_was_seen_and_what_is_shared(world: World):
    made = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=2, explain=True))
    for each in made.items:
        assert each.explanation is not None
        assert {because.item_id for because in each.explanation.because} <= {f"war-{n}" for n in range(6)}
        assert "category war" in each.explanation.matched
        assert each.explanation.text.startswith("Because of war story")


async def test_a_new_item_is_recommended_by_its_content(world: World):
    await world.store.catalogue.upsert([film("war", 99), film("comedy", 99)])
    made = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=5, explain=True))
    fresh = made.items[-1]
    assert (fresh.item_id, fresh.source) == ("war-99", "fresh")
    assert fresh.explanation is not None
    assert fresh.explanation.because


async def test_similar_items_are_of_the_same_genre_by_use_and_by_content(world: World):
    for by in ("blend", "interactions", "content"):
        query = SimilarQuery(("war-3",), by=by, max_results=5, explain=True)  # type: ignore[arg-type]
        found = await world.serving.recommender.similar_items(query)
        assert len(found) == 5
        assert "war-3" not in ids(found)
        assert by != "interactions" or genres(found) == {"war"}
        assert found[0].explanation is not None
    with pytest.raises(NotFound):
        await world.serving.recommender.similar_items(SimilarQuery(("unheard-of",)))


async def test_similar_users_saw_the_same(world: World):
    found = await world.serving.recommender.similar_users("war-viewer-0", 5)
    assert len(found) == 5
    assert all(each.user_id.startswith("war") and 0 < each.similarity <= 1 for each in found)


async def test_given_items_are_ranked_seen_ones_too(world: World):
    made = await world.serving.recommender.rank(
        RankQuery(("comedy-1", "war-1", "war-8", "unheard-of"), user_id="war-viewer-0")
    )
    assert set(ids(made.items)) == {"comedy-1", "war-1", "war-8"}
    assert made.items[-1].item_id == "comedy-1"


async def test_boards_show_what_is_chosen_and_what_is_new(world: World):
    await world.see("somebody", *["comedy-5"] * 9)
    popular = world.serving.recommender.popular(PopularQuery(category="comedy", max_results=3))
    assert popular[0].item_id == "comedy-5"
    assert genres(popular) == {"comedy"}


async def test_values_need_a_model_of_values(world: World):
    with pytest.raises(FailedPrecondition):
        await world.serving.recommender.predict_ratings("war-viewer-0", ["war-1"])


async def test_what_is_wrong_is_refused_by_name(world: World):
    recommend = world.serving.recommender.recommend
    with pytest.raises(InvalidArgument, match="character 8"):
        await recommend(Query("u", filter="price < "))
    with pytest.raises(NotFound):
        await recommend(Query("u", scenario="unheard-of"))
    with pytest.raises(NotFound):
        await recommend(Query("u", variant="unheard-of"))
    with pytest.raises(InvalidArgument):
        await recommend(Query("u", max_results=0))
