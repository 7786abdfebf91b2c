"""The recommender through the public port of a whole mesh."""

from __future__ import annotations

import grpc
import pytest
from trunkline.recommender.v1.events_pb2 import Event, RecordEventsRequest, StreamEventsRequest
from trunkline.recommender.v1.items_pb2 import Item, UpsertItemsRequest
from trunkline.recommender.v1.models_pb2 import TrainRequest
from trunkline.recommender.v1.options_pb2 import RecommendOptions
from trunkline.recommender.v1.recommendations_pb2 import RecommendRequest, WatchUserRequest
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from trunkline.recommender.v1.users_pb2 import EraseUserRequest

from services.kit.status import from_rpc_error

FILMS = 12


def events(user_id: str, films: list[int]) -> list[Event]:
    return [
        Event(event_id=f"e2e-{user_id}-{film}", event_type="like", item_id=f"e2e-{film}", user_id=user_id)
        for film in films
    ]


async def populate(stub: RecommenderServiceStub) -> None:
    """Write films, and users who like the even or the odd ones."""
    items = [
        Item(item_id=f"e2e-{film}", categories=[str(film % 2)], text=f"film {film}") for film in range(FILMS)
    ]
    await stub.UpsertItems(UpsertItemsRequest(items=items))

    async def requests():
        for user in range(20):
            liked = [film for film in range(user % 2, FILMS, 2) if (film + user) % 5]
            yield StreamEventsRequest(events=events(f"e2e-u{user}", liked))

    async for answer in stub.StreamEvents(requests()):
        assert answer.sequence


async def test_an_event_changes_the_next_list_and_a_watch_sees_it(
    channel: grpc.aio.Channel, operator_channel: grpc.aio.Channel
):
    stub, operators = RecommenderServiceStub(channel), RecommenderServiceStub(operator_channel)
    await populate(stub)
    training = (await operators.Train(TrainRequest(request_id="e2e", wait=True), timeout=250)).training
    assert training.promoted, training

    await stub.RecordEvents(RecordEventsRequest(events=events("e2e-new", [0, 2])))
    options = RecommendOptions(max_results=3, explain=True, return_items=True)
    watch = stub.WatchUser(WatchUserRequest(user_id="e2e-new", options=options))
    seen = await watch.read()
    before = await stub.Recommend(RecommendRequest(user_id="e2e-new", options=options))
    assert before.provenance.model_version == training.version
    assert before.items[0].item.categories == ["0"]
    assert [each.item_id for each in seen.items] == [each.item_id for each in before.items]

    first = int(before.items[0].item_id.removeprefix("e2e-"))
    await stub.RecordEvents(RecordEventsRequest(events=events("e2e-new", [first])))
    after = await stub.Recommend(RecommendRequest(user_id="e2e-new", options=options))
    assert before.items[0].item_id not in [each.item_id for each in after.items]
    seen = await watch.read()
    assert before.items[0].item_id not in [each.item_id for each in seen.items]
    watch.cancel()


async def test_operators_rpcs_are_out_of_reach_on_the_public_port(channel: grpc.aio.Channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await RecommenderServiceStub(channel).EraseUser(EraseUserRequest(user_id="e2e-new"))
    assert str(from_rpc_error(caught.value).reason) == "RPC_NOT_SERVED"
