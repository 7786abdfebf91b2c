"""Items, users and events into a recommender, through its contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from trunkline.recommender.v1 import events_pb2, items_pb2, users_pb2
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

from services.kit.command import CommandError

M = TypeVar("M", bound=Message)
A_MESSAGE = 500
"""Events, or items, in one message."""


@dataclass(frozen=True)
class Imported:
    """What an import wrote."""

    items: int
    users: int
    events: int
    duplicates: int
    rejected: int
    sequence: int

    def as_dict(self) -> dict[str, int]:
        """Return it for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """What is to be imported, as messages."""

    items: Iterable[items_pb2.Item] = ()
    users: Iterable[users_pb2.User] = ()
    events: Iterable[events_pb2.Event] = ()


def write(channel: grpc.Channel, source: Source) -> Imported:
    """Write items, users and events, in this order; all of it is on disk when this returns."""
    stub = RecommenderServiceStub(channel)
    items = stub.ImportItems(items_pb2.ImportItemsRequest(items=each) for each in chunks(source.items))
    users = stub.ImportUsers(users_pb2.ImportUsersRequest(users=each) for each in chunks(source.users))
    accepted = duplicates = rejected = sequence = 0
    requests = (events_pb2.StreamEventsRequest(events=each) for each in chunks(source.events))
    for answer in stub.StreamEvents(requests):
        accepted += answer.accepted
        duplicates += answer.duplicates
        rejected += len(answer.rejected)
        sequence = answer.sequence
    return Imported(items.written, users.written, accepted, duplicates, rejected, sequence)


def movielens() -> Source:
    """Return MovieLens-100K, fetched once; needs trunkline[recommender]."""
    from services.kit.settings import read
    from services.recommender.datasets.movielens import load
    from services.recommender.messages.events import event_message
    from services.recommender.messages.items import item_message
    from services.recommender.messages.users import user_message
    from services.store.settings import StoreSettings
    from services.store.store import Store

    data = load(Store(read(StoreSettings).cache))
    return Source(
        map(item_message, data.items), map(user_message, data.users), map(event_message, data.events())
    )


DATASETS: dict[str, Callable[[], Source]] = {"ml-100k": movielens}
TERMS = {
    "ml-100k": "MovieLens-100K by GroupLens: for research; not for commercial use, not to be passed on.",
}


def files(items: Path | None, users: Path | None, events: Path | None) -> Source:
    """Return what files of JSON lines hold, a message a line; reading a wrong one raises CommandError."""
    return Source(
        _lines(items, items_pb2.Item) if items else (),
        _lines(users, users_pb2.User) if users else (),
        _lines(events, events_pb2.Event) if events else (),
    )


def chunks(messages: Iterable[M], size: int = A_MESSAGE) -> Iterator[list[M]]:
    """Yield the messages, `size` at a time."""
    chunk: list[M] = []
    for each in messages:
        chunk.append(each)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lines(path: Path, kind: type[M]) -> Iterator[M]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _message(f"{path}, line {number}", line, kind)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error


def _message(place: str, line: str, kind: type[M]) -> M:
    try:
        return ParseDict(json.loads(line), kind())
    except (ParseError, ValueError) as error:
        raise CommandError(f"{place} is no {kind.__name__}: {error}") from error
