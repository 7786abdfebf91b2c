"""Events streamed through the port while the service is killed again and again: each is stored once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, distinct, func, select
from trunkline.recommender.v1.events_pb2 import Event, StreamEventsRequest
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

from services.recommender.store.database import Database
from services.recommender.store.schema import events as table
from tests.free_ports import free_ports
from tests.postgres import cluster, new_database

_ROOT = Path(__file__).parents[3]
_A_MESSAGE = 500
_IN_FLIGHT = 16
_NUMBERS = count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[], str]]:
    with cluster() as server:
        yield lambda: new_database(server, f"kills_{next(_NUMBERS)}")


def database(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the URL of a new database."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/events.db"
    made: Callable[[], str] = request.getfixturevalue("postgres")
    return made()


async def test_each_event_is_stored_once_although_the_service_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await stored_once(database("sqlite", tmp_path, request), tmp_path, messages=20, kills=1)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_million_events_are_stored_once_in_spite_of_twenty_kills(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await stored_once(database(kind, tmp_path, request), tmp_path, messages=2_000, kills=20)


async def stored_once(url: str, folder: Path, *, messages: int, kills: int) -> None:
    chance = random.Random(7)
    service = Service(url, folder, free_ports(1)[0])
    client = Client(deque(range(messages)))
    moments = sorted(chance.sample(range(1, messages - 1), kills))
    try:
        for moment in (*moments, messages):
            await service.start()
            await client.send(service, until=moment)
    finally:
        await service.kill()
    assert client.acknowledged == set(range(messages))
    opened = Database.open(url)
    try:
        assert opened.read(stored) == (messages * _A_MESSAGE, messages * _A_MESSAGE)
    finally:
        await opened.close()


def stored(connection: Connection) -> tuple[int, int]:
    """Return how many events there are, and how many different ones."""
    found = connection.execute(select(func.count(), func.count(distinct(table.c.event_id)))).one()
    return int(found[0]), int(found[1])


@dataclass
class Service:
    """The service as a process that can be killed."""

    url: str
    folder: Path
    port: int
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it; `Client.send` waits until it answers."""
        settings = {
            "TRUNKLINE_LISTEN": self.address,
            "TRUNKLINE_STATE": str(self.folder),
            "TRUNKLINE_RECOMMENDER_DATABASE": self.url,
        }
        log = (self.folder / "log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.recommender"),
            cwd=_ROOT,
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
        log.close()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


@dataclass
class Client:
    """Sends messages of events ahead of their acknowledgements, and again what was not acknowledged."""

    waiting: deque[int]
    acknowledged: set[int] = field(default_factory=set)

    async def send(self, service: Service, *, until: int) -> None:
        """Stream until so many messages are acknowledged, and kill the service with others on their way."""
        async with grpc.aio.insecure_channel(service.address) as channel:
            await asyncio.wait_for(channel.channel_ready(), 120)
            call = RecommenderServiceStub(channel).StreamEvents()
            sent: deque[int] = deque()
            while len(self.acknowledged) < until:
                while self.waiting and len(sent) < _IN_FLIGHT:
                    number = self.waiting.popleft()
                    await call.write(StreamEventsRequest(events=_events(number)))
                    sent.append(number)
                answer = await call.read()
                assert answer.accepted + answer.duplicates == _A_MESSAGE
                self.acknowledged.add(sent.popleft())
            await service.kill()
            self.waiting.extendleft(reversed(sent))
            call.cancel()


def _events(message: int) -> list[Event]:
    return [
        Event(
            event_id=f"{message:06}-{number:03}",
            event_type="view",
            item_id=f"item-{(message * 31 + number * 17) % 1_000}",
            user_id=f"user-{(message * 7 + number) % 5_000}",
        )
        for number in range(_A_MESSAGE)
    ]
