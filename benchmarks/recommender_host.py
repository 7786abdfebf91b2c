"""A recommender in a process and a folder of its own, filled through its port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import numpy as np
import psutil
from trunkline.recommender.v1 import events_pb2, items_pb2, models_pb2
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

from services.kit.transport import client_options

READY_S = 120.0
_MESSAGE = 500
_ITEMS_A_MESSAGE = 2_000


@dataclass
class Host:
    """A recommender that can be ended and started again over the same folder."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"unix:{self.folder / 'socket'}"

    def start(self) -> float:
        """Start it and return the seconds until it answers."""
        begun = time.perf_counter()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))
        }
        own = {
            "TRUNKLINE_LISTEN": self.address,
            "TRUNKLINE_STATE": str(self.folder),
            "TRUNKLINE_MONITOR": "",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "services.recommender"]
            self.process = subprocess.Popen(command, env=kept | own, stdout=log, stderr=log)
        with self.channel() as channel:
            grpc.channel_ready_future(channel).result(READY_S)
        return time.perf_counter() - begun

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address, options=client_options())

    def resident_mib(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20 if self.process else 0.0


@contextmanager
def host() -> Iterator[Host]:
    """Start a recommender; it goes away with its folder."""
    with TemporaryDirectory(prefix="trunkline-benchmark-") as name:
        running = Host(Path(name))
        running.start()
        try:
            yield running
        finally:
            running.stop()


def write_items(stub: RecommenderServiceStub, count: int) -> None:
    """Upsert `count` items of which nothing is said but a category."""

    def messages() -> Iterator[items_pb2.ImportItemsRequest]:
        for first in range(0, count, _ITEMS_A_MESSAGE):
            numbers = range(first, min(first + _ITEMS_A_MESSAGE, count))
            items = [items_pb2.Item(item_id=f"i{n}", categories=[f"c{n % 100}"]) for n in numbers]
            yield items_pb2.ImportItemsRequest(items=items)

    stub.ImportItems(messages())


def write_events(stub: RecommenderServiceStub, events: int, users: int, items: int) -> float:
    """Stream events of users in turn on random items; return how many a second became durable."""
    chosen = np.random.default_rng(5).zipf(1.2, events) % items
    requests = [
        events_pb2.StreamEventsRequest(
            events=[
                events_pb2.Event(
                    event_id=f"e{n}", event_type="view", user_id=f"u{n % users}", item_id=f"i{chosen[n]}"
                )
                for n in range(first, min(first + _MESSAGE, events))
            ]
        )
        for first in range(0, events, _MESSAGE)
    ]
    begun = time.perf_counter()
    stored = sum(answer.accepted for answer in stub.StreamEvents(iter(requests)))
    if stored != events:
        raise RuntimeError(f"{stored} of {events} events were stored")
    return events / (time.perf_counter() - begun)


def publish(stub: RecommenderServiceStub, items: int, dimensions: int) -> None:
    """Publish random factors and serve them."""
    factors = np.random.default_rng(7).standard_normal((items, dimensions)).astype("<f4") / dimensions**0.5

    def messages() -> Iterator[models_pb2.PublishModelRequest]:
        model = models_pb2.PublishedModel(
            version="random", origin="benchmark", dimensions=dimensions, promote=True
        )
        yield models_pb2.PublishModelRequest(model=model)
        for first in range(0, items, _ITEMS_A_MESSAGE):
            numbers = range(first, min(first + _ITEMS_A_MESSAGE, items))
            part = models_pb2.ItemFactors(
                item_ids=[f"i{n}" for n in numbers], factors=factors[first : first + len(numbers)].tobytes()
            )
            yield models_pb2.PublishModelRequest(factors=part)

    stub.PublishModel(messages())
