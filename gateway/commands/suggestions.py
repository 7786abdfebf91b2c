"""What a tour shows of the recommender: a newcomer's list, one more event, and the changed list."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from uuid import uuid4

import grpc
from trunkline.recommender.v1.events_pb2 import Event, RecordEventsRequest
from trunkline.recommender.v1.items_pb2 import GetItemRequest
from trunkline.recommender.v1.options_pb2 import RecommendOptions
from trunkline.recommender.v1.recommendations_pb2 import Recommendation, RecommendRequest
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from trunkline.recommender.v1.status_pb2 import GetStatusRequest
from trunkline.recommender.v1.users_pb2 import EraseUserRequest

from gateway.commands.offer import UNARY_SECONDS
from services.kit.command import CommandError

DATASET = "ml-100k"
LIKED = {"50": "Star Wars", "172": "The Empire Strikes Back", "181": "Return of the Jedi"}
"""Three films of MovieLens-100K by their ids: all that is known of the newcomer."""
SHOWN = 5


@dataclass(frozen=True)
class Suggestion:
    """A place of a list."""

    item_id: str
    name: str
    why: str


@dataclass(frozen=True)
class Suggestions:
    """A newcomer's list, what they did then, and their list after it."""

    liked: tuple[str, ...]
    before: tuple[Suggestion, ...]
    then: str
    """The film of the first place, liked too."""
    after: tuple[Suggestion, ...]
    milliseconds: float
    """From the event to the changed list, both calls together."""


def suggest(public: grpc.Channel, operators: grpc.Channel) -> Suggestions | None:
    """Return what the recommender suggests to a newcomer, who is erased at the end.

    An empty recommender gets MovieLens-100K first. None where the mesh has no recommender, or one that holds
    other data. Raises CommandError when the event changes nothing.
    """
    stub = RecommenderServiceStub(public)
    if not _has_films(stub):
        return None
    user_id = f"tour-{uuid4().hex[:12]}"
    try:
        _like(stub, user_id, LIKED)
        before = _list(stub, user_id)
        began = time.perf_counter()
        _like(stub, user_id, [each.item_id for each in before[:1]])
        after = _list(stub, user_id)
        took = time.perf_counter() - began
    finally:
        RecommenderServiceStub(operators).EraseUser(EraseUserRequest(user_id=user_id), timeout=UNARY_SECONDS)
    if not before or [each.item_id for each in before] == [each.item_id for each in after]:
        raise CommandError("The recommender's list did not change with an event.")
    return Suggestions(tuple(LIKED.values()), before, before[0].name, after, round(1e3 * took, 1))


def _has_films(stub: RecommenderServiceStub) -> bool:
    """Return whether the recommender holds the films, after an import where it was empty."""
    try:
        status = stub.GetStatus(GetStatusRequest(), timeout=UNARY_SECONDS)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return False
        raise
    if not status.events:
        _command("recommender", "import", "--dataset", DATASET, "--train")
        return True
    if not _knows_films(stub):
        return False
    if not status.version:
        _command("recommender", "train")
    return True


def _knows_films(stub: RecommenderServiceStub) -> bool:
    item_id, name = next(iter(LIKED.items()))
    try:
        item = stub.GetItem(GetItemRequest(item_id=item_id), timeout=UNARY_SECONDS).item
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return item.text.startswith(name)


def _command(*words: str) -> None:
    """Run a command of `trunkline` without what it prints."""
    from gateway import cli

    with redirect_stdout(io.StringIO()):
        cli.run(words)


def _like(stub: RecommenderServiceStub, user_id: str, films: Iterable[str]) -> None:
    events = [
        Event(event_id=f"{user_id}-{item_id}", event_type="like", item_id=item_id, user_id=user_id)
        for item_id in films
    ]
    stub.RecordEvents(RecordEventsRequest(events=events), timeout=UNARY_SECONDS)


def _list(stub: RecommenderServiceStub, user_id: str) -> tuple[Suggestion, ...]:
    options = RecommendOptions(max_results=SHOWN, explain=True, return_items=True)
    answer = stub.Recommend(RecommendRequest(user_id=user_id, options=options), timeout=UNARY_SECONDS)
    return tuple(Suggestion(each.item_id, _name(each), each.explanation.text) for each in answer.items)


def _name(each: Recommendation) -> str:
    return each.item.text.splitlines()[0] if each.item.text else each.item_id
