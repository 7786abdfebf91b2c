"""Items, users and events through the port: durable, idempotent, judged one by one."""

from __future__ import annotations

from pathlib import Path

from trunkline.recommender.v1.events_pb2 import (
    WRITE_MODE_IGNORE,
    WRITE_MODE_OVERWRITE,
    RecordEventsRequest,
    StreamEventsRequest,
)
from trunkline.recommender.v1.items_pb2 import (
    DeleteItemsRequest,
    GetItemRequest,
    ImportItemsRequest,
    Item,
    ListItemsRequest,
    UpsertItemsRequest,
    Value,
    Words,
)
from trunkline.recommender.v1.status_pb2 import GetStatusRequest
from trunkline.recommender.v1.users_pb2 import (
    EraseUserRequest,
    ExportUserRequest,
    GetUserRequest,
    ImportUsersRequest,
    ListUsersRequest,
    UpsertUsersRequest,
    User,
)

from tests.contract.recommender.serving import Serving, event, film, record, refusal, serving


async def test_an_item_comes_back_as_it_was_written(recommender: Serving):
    item = Item(
        item_id="a",
        categories=["x", "y"],
        tags=["t"],
        text="A text.",
        attributes={
            "price": Value(number=1.5),
            "brand": Value(text="acme"),
            "new": Value(flag=True),
            "sizes": Value(words=Words(words=["s", "m"])),
        },
        embedding=[0.5, -1.0],
        hidden=True,
    )
    item.timestamp.FromSeconds(1_000_000_000)
    item.valid_until.FromSeconds(2_000_000_000)
    written = await recommender.stub.UpsertItems(UpsertItemsRequest(items=[item]))
    assert (written.written, written.created) == (1, 1)
    assert (await recommender.stub.GetItem(GetItemRequest(item_id="a"))).item == item
    written = await recommender.stub.UpsertItems(UpsertItemsRequest(items=[item]))
    assert (written.written, written.created) == (1, 0)


async def test_items_are_imported_listed_by_pages_and_deleted(recommender: Serving):
    stub = recommender.stub

    async def requests():
        for start in (0, 3):
            yield ImportItemsRequest(items=[film(f"f{number}") for number in range(start, start + 3)])

    assert (await stub.ImportItems(requests())).written == 6
    first = await stub.ListItems(ListItemsRequest(page_size=4))
    rest = await stub.ListItems(ListItemsRequest(page_size=4, page_token=first.next_page_token))
    assert [each.item_id for each in (*first.items, *rest.items)] == [f"f{number}" for number in range(6)]
    assert not rest.next_page_token
    assert (await stub.DeleteItems(DeleteItemsRequest(item_ids=["f0", "nothing"]))).deleted == 1
    assert str((await refusal(stub.GetItem(GetItemRequest(item_id="f0")))).reason) == "ITEM_NOT_FOUND"


async def test_an_event_is_stored_once_whatever_is_retried(recommender: Serving):
    events = [event("u", "a"), event("u", "b")]
    first = await record(recommender.stub, events)
    again = await record(recommender.stub, events)
    assert (first.accepted, first.duplicates) == (2, 0)
    assert (again.accepted, again.duplicates) == (0, 2)
    assert again.sequence >= first.sequence
    assert (await recommender.stub.GetStatus(GetStatusRequest())).events == 2


async def test_wrong_events_are_refused_one_by_one_with_their_field(recommender: Serving):
    wrong = [event("u", "a", event_type="Not A Word"), event("u", ""), event("", "a"), event("u", "b")]
    answer = await record(recommender.stub, wrong)
    assert answer.accepted == 1
    assert [each.index for each in answer.rejected] == [0, 1, 2]
    assert "events[1].item_id" in answer.rejected[1].status.message


async def test_modes_say_what_becomes_of_repetitions(recommender: Serving):
    stub = recommender.stub
    await record(stub, [event("u", "a", event_id="1", value=2.0)])
    later = [event("u", "a", event_id="2", value=5.0)]
    ignored = await stub.RecordEvents(RecordEventsRequest(events=later, write_mode=WRITE_MODE_IGNORE))
    assert (ignored.accepted, ignored.duplicates) == (0, 1)
    later = [event("u", "a", event_id="3", value=4.0)]
    await stub.RecordEvents(RecordEventsRequest(events=later, write_mode=WRITE_MODE_OVERWRITE))
    parts = [each async for each in stub.ExportUser(ExportUserRequest(user_id="u"))]
    values = [each.value for part in parts for each in part.events.events]
    assert 4.0 in values
    assert 5.0 not in values


async def test_a_stream_is_acknowledged_message_by_message(recommender: Serving):
    async def requests():
        for message in range(5):
            yield StreamEventsRequest(events=[event("u", f"i{message}-{number}") for number in range(20)])

    answers = [each async for each in recommender.stub.StreamEvents(requests())]
    assert [each.accepted for each in answers] == [20] * 5
    sequences = [each.sequence for each in answers]
    assert sequences == sorted(sequences)
    assert sequences[-1] >= 100


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path):
    async with serving(tmp_path) as first:
        await first.stub.UpsertItems(UpsertItemsRequest(items=[film("kept")]))
        acknowledged = (await record(first.stub, [event("u", "kept")])).sequence
    async with serving(tmp_path) as second:
        status = await second.stub.GetStatus(GetStatusRequest())
        assert (status.items, status.events, status.sequence) == (1, 1, acknowledged)
        assert status.store == "sqlite"


async def test_users_are_written_listed_exported_and_erased(recommender: Serving):
    stub = recommender.stub
    ada = User(user_id="ada", attributes={"age": Value(number=36)}, tags=["maths"])

    async def requests():
        yield ImportUsersRequest(users=[User(user_id="bob")])

    await stub.UpsertUsers(UpsertUsersRequest(users=[ada]))
    assert (await stub.ImportUsers(requests())).written == 1
    assert (await stub.GetUser(GetUserRequest(user_id="ada"))).user == ada
    listed = await stub.ListUsers(ListUsersRequest())
    assert [each.user_id for each in listed.users] == ["ada", "bob"]
    await record(stub, [event("ada", "engine")])
    parts = [each async for each in stub.ExportUser(ExportUserRequest(user_id="ada"))]
    assert parts[0].user == ada
    receipt = await stub.EraseUser(EraseUserRequest(user_id="ada"))
    assert receipt.rows["events"] == 1
    assert receipt.rows["users"] == 1
    error = await refusal(stub.GetUser(GetUserRequest(user_id="ada")))
    assert str(error.reason) == "USER_NOT_FOUND"
    again = await stub.EraseUser(EraseUserRequest(user_id="ada"))
    assert not sum(again.rows.values())
