"""A recommender on a port of its own, over a store in a folder, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from trunkline.recommender.v1.events_pb2 import Event, RecordEventsRequest, RecordEventsResponse
from trunkline.recommender.v1.items_pb2 import Item, UpsertItemsRequest, Value
from trunkline.recommender.v1.options_pb2 import RecommendOptions
from trunkline.recommender.v1.recommendations_pb2 import RecommendRequest, RecommendResponse
from trunkline.recommender.v1.recommender_pb2_grpc import (
    RecommenderServiceStub,
    add_RecommenderServiceServicer_to_server,
)

from services.kit.errors import TrunklineError
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from services.recommender.opening import opened
from services.recommender.service.domain import Domain
from services.recommender.service.service import SERVICE, RecommenderService
from services.recommender.settings import RecommenderSettings


@dataclass(frozen=True)
class Serving:
    """A running recommender."""

    stub: RecommenderServiceStub
    channel: grpc.aio.Channel
    domain: Domain
    address: str


@asynccontextmanager
async def serving(folder: Path, **settings: object) -> AsyncIterator[Serving]:
    """Serve from `folder` on any port."""
    telemetry = Telemetry.disabled()
    chosen = RecommenderSettings(state=folder, **settings)  # type: ignore[arg-type]
    async with (
        opened(chosen) as domain,
        Server("127.0.0.1:0", telemetry, grace=0.0) as server,
    ):
        server.add(SERVICE, add_RecommenderServiceServicer_to_server, RecommenderService(domain))
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Serving(RecommenderServiceStub(channel), channel, domain, f"127.0.0.1:{port}")


def film(item_id: str, *genres: str, text: str = "", year: float = 1990.0) -> Item:
    return Item(
        item_id=item_id, categories=genres, text=text or item_id, attributes={"year": Value(number=year)}
    )


def event(user_id: str, item_id: str, event_type: str = "view", **fields: object) -> Event:
    event_id = f"{user_id}-{event_type}-{item_id}"
    return Event(
        **{
            "event_id": event_id,
            "event_type": event_type,
            "item_id": item_id,
            "user_id": user_id,
            **fields,
        }  # type: ignore[arg-type]
    )


async def record(stub: RecommenderServiceStub, events: Iterable[Event]) -> RecordEventsResponse:
    answer: RecordEventsResponse = await stub.RecordEvents(RecordEventsRequest(events=events))
    return answer


async def populate(stub: RecommenderServiceStub, users: int = 40, films: int = 30) -> None:
    """Write films of two genres, and users who like one of them each."""
    genres = ("war", "comedy")
    items = [
        film(f"f{number}", genres[number % 2], year=1960.0 + number, text=f"{genres[number % 2]} {number}")
        for number in range(films)
    ]
    await stub.UpsertItems(UpsertItemsRequest(items=items))
    for user in range(users):
        liked = [number for number in range(films) if number % 2 == user % 2 and (number + user) % 5]
        await record(stub, [event(f"u{user}", f"f{number}", "like") for number in liked])


async def recommend(
    stub: RecommenderServiceStub, user_id: str, max_results: int = 10, **options: object
) -> RecommendResponse:
    request = RecommendRequest(
        user_id=user_id,
        options=RecommendOptions(max_results=max_results, **options),  # type: ignore[arg-type]
    )
    answer: RecommendResponse = await stub.Recommend(request)
    return answer


def ids(items: Sequence[object]) -> list[str]:
    return [each.item_id for each in items]  # type: ignore[attr-defined]


async def refusal(call: Awaitable[object]) -> TrunklineError:
    """Return the error that a call fails with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError(f"the call was answered: {answer!r}"[:500])
