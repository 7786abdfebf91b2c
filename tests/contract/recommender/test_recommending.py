"""Lists through the port: personal, filtered, explained; and an event changes the next one."""

from __future__ import annotations

import pytest
from trunkline.recommender.v1.events_pb2 import Event
from trunkline.recommender.v1.items_pb2 import HideItemsRequest, UpsertItemsRequest
from trunkline.recommender.v1.options_pb2 import Boost, Pin, RecommendOptions, Seen
from trunkline.recommender.v1.recommendations_pb2 import (
    FALLBACK_COLD_START,
    BatchRecommendRequest,
    LatestRequest,
    PopularRequest,
    RankItemsRequest,
    RecommendForSessionRequest,
    SessionEvent,
    SimilarItemsRequest,
    SimilarUsersRequest,
    WatchUserRequest,
)

from tests.contract.recommender.serving import Serving, event, film, ids, recommend, record, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_user_gets_what_their_like_like(trained: Serving):
    answer = await recommend(trained.stub, "u0", 3, explain=True, return_items=True)
    assert len(answer.items) == 3
    assert [each.rank for each in answer.items] == [1, 2, 3]
    best = answer.items[0]
    assert "war" in best.item.categories
    assert best.explanation.because
    assert answer.provenance.model_version
    assert answer.provenance.recommendation_id
    assert not answer.provenance.fallback


async def test_an_unknown_user_is_answered_by_the_fallback(trained: Serving):
    answer = await recommend(trained.stub, "nobody-knows")
    assert len(answer.items) == 10
    assert answer.provenance.fallback == FALLBACK_COLD_START


async def test_an_event_changes_the_next_answer(trained: Serving):
    stub = trained.stub
    await record(stub, [event("newcomer", "f2"), event("newcomer", "f4")])
    before = await recommend(stub, "newcomer", 5, return_items=True)
    assert not before.provenance.fallback
    await record(stub, [event("newcomer", before.items[0].item_id)])
    after = await recommend(stub, "newcomer", 5)
    assert before.items[0].item_id not in ids(after.items)


async def test_hidden_items_are_gone_from_the_next_answer(trained: Serving):
    first = (await recommend(trained.stub, "u1")).items[0].item_id
    await trained.stub.HideItems(HideItemsRequest(item_ids=[first], hidden=True))
    assert first not in ids((await recommend(trained.stub, "u1")).items)
    await trained.stub.HideItems(HideItemsRequest(item_ids=[first], hidden=False))
    assert first in ids((await recommend(trained.stub, "u1")).items)


async def test_filters_pins_boosts_and_exclusions_hold(trained: Serving):
    answer = await recommend(
        trained.stub,
        "u3",
        filter='category in ["comedy"] and year >= 1970',
        exclude_item_ids=["f13"],
        pins=[Pin(item_id="f11", position=1)],
        boosts=[Boost(filter="year > 1985", amount=-5)],
        seen=Seen(exclude=False),
        return_items=True,
    )
    assert answer.items[0].item_id == "f11"
    assert "f13" not in ids(answer.items)
    assert all(each.item.attributes["year"].number >= 1970 for each in answer.items)


async def test_a_filter_that_does_not_parse_names_its_field(trained: Serving):
    error = await refusal(recommend(trained.stub, "u0", filter="year <"))
    assert error.code == "INVALID_ARGUMENT"
    assert error.violations


async def test_an_unknown_scenario_is_not_found(trained: Serving):
    error = await refusal(recommend(trained.stub, "u0", scenario="nowhere"))
    assert (error.code, str(error.reason)) == ("NOT_FOUND", "SCENARIO_NOT_FOUND")


async def test_a_session_without_a_user_gets_a_list_of_its_own(trained: Serving):
    stub = trained.stub
    told = [SessionEvent(item_id="f2"), SessionEvent(item_id="f6")]
    options = RecommendOptions(return_items=True, max_results=4)
    answer = await stub.RecommendForSession(RecommendForSessionRequest(events=told, options=options))
    assert "war" in answer.items[0].item.categories
    await record(stub, [Event(event_id="s1", event_type="view", item_id="f3", session_id="visit")])
    answer = await stub.RecommendForSession(RecommendForSessionRequest(session_id="visit", options=options))
    assert "comedy" in answer.items[0].item.categories


async def test_a_batch_is_answered_in_order(trained: Serving):
    async def requests():
        yield BatchRecommendRequest(options=RecommendOptions(max_results=3), user_ids=["u0", "u1"])
        yield BatchRecommendRequest(user_ids=["u2"])

    answers = [each async for each in trained.stub.BatchRecommend(requests())]
    assert [[ranking.user_id for ranking in each.rankings] for each in answers] == [["u0", "u1"], ["u2"]]
    alone = await recommend(trained.stub, "u0", 3)
    assert list(answers[0].rankings[0].item_ids) == ids(alone.items)


async def test_items_users_and_orders(trained: Serving):
    stub = trained.stub
    similar = await stub.SimilarItems(SimilarItemsRequest(item_ids=["f0"], max_results=3))
    assert "f0" not in ids(similar.items)
    assert len(similar.items) == 3
    users = await stub.SimilarUsers(SimilarUsersRequest(user_id="u0", max_results=3))
    named = [each.user_id for each in users.users if each.user_id[1:].isdigit()]
    assert {int(each[1:]) % 2 for each in named} <= {0}
    assert users.users
    ranked = await stub.RankItems(RankItemsRequest(user_id="u0", item_ids=["f1", "f2"]))
    assert ids(ranked.items) == ["f2", "f1"]
    error = await refusal(stub.SimilarItems(SimilarItemsRequest(item_ids=["gone"])))
    assert str(error.reason) == "ITEM_NOT_FOUND"


async def test_what_is_popular_and_what_is_new(trained: Serving):
    stub = trained.stub
    popular = await stub.Popular(PopularRequest(category="war", max_results=4))
    assert len(popular.items) == 4
    assert popular.items[0].score >= popular.items[-1].score
    await stub.UpsertItems(UpsertItemsRequest(items=[film("brand-new", "war")]))
    latest = await stub.Latest(LatestRequest(max_results=1))
    assert ids(latest.items) == ["brand-new"]
    assert latest.items[0].timestamp.seconds > 0


async def test_a_new_item_is_recommended_by_its_content_at_once(trained: Serving):
    stub = trained.stub
    await record(stub, [event("soldier", f"f{number}", "like") for number in (0, 2, 4, 6, 8)])
    await stub.UpsertItems(UpsertItemsRequest(items=[film("fresh", "war", text="war war war")]))
    assert "fresh" in ids((await recommend(stub, "soldier", 10)).items)


async def test_a_watched_user_gets_a_new_list_when_an_event_changes_it(trained: Serving):
    stub = trained.stub
    await record(stub, [event("watched", "f2")])
    call = stub.WatchUser(WatchUserRequest(user_id="watched", options=RecommendOptions(max_results=3)))
    first = await call.read()
    await record(stub, [event("watched", first.items[0].item_id)])
    second = await call.read()
    assert first.items[0].item_id not in ids(second.items)
    assert second.sequence > first.sequence
    call.cancel()
