"""`python -m benchmarks.recommender_load ADDRESS KIND …`: callers in a process of their own.

closed CALLERS SECONDS: each asks again when answered; open RATE SECONDS: requests at even distances whatever
the answers take, so that a slow answer delays no request (no coordinated omission). Users are `u0` and so on,
or the ids of MovieLens with --first 1 and no prefix. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence

import grpc
from trunkline.recommender.v1 import events_pb2, recommendations_pb2
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

from benchmarks.figures import percentile
from services.kit.transport import client_options

_STEP = 7_919
"""A prime: users come in an order without a pattern."""


class Callers:
    """Asks for lists and takes the time."""

    def __init__(self, stub: RecommenderServiceStub, prefix: str, users: int, first: int) -> None:
        self._stub = stub
        self._requests = [
            recommendations_pb2.RecommendRequest(user_id=f"{prefix}{first + n * _STEP % users}")
            for n in range(min(users, 20_000))
        ]
        self._next = 0
        self.waits: list[float] = []

    async def ask(self, due: float | None = None) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        begun = time.perf_counter() if due is None else due
        await self._stub.Recommend(request)
        self.waits.append(time.perf_counter() - begun)

    async def closed(self, callers: int, seconds: float) -> None:
        until = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < until:
                await self.ask()

        await asyncio.gather(*(caller() for _ in range(callers)))

    async def open(self, rate: float, seconds: float) -> None:
        begun, tasks = time.perf_counter(), set[asyncio.Task[None]]()
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            task = asyncio.create_task(self.ask(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


async def changed(
    stub: RecommenderServiceStub, prefix: str, users: int, first: int, rounds: int
) -> list[float]:
    """Return the seconds from the sending of an event to the answer that knows it, `rounds` times."""
    waits = []
    for number in range(rounds):
        user_id = f"{prefix}{first + number * _STEP % users}"
        request = recommendations_pb2.RecommendRequest(user_id=user_id)
        top = (await stub.Recommend(request)).items[0].item_id
        event = events_pb2.Event(
            event_id=f"b{time.time_ns()}", event_type="view", user_id=user_id, item_id=top
        )
        begun = time.perf_counter()
        await stub.RecordEvents(events_pb2.RecordEventsRequest(events=[event]))
        while top in [each.item_id for each in (await stub.Recommend(request)).items]:
            pass
        waits.append(time.perf_counter() - begun)
    return waits


async def batches(stub: RecommenderServiceStub, prefix: str, users: int, first: int, seconds: float) -> float:
    """Return the users a second that BatchRecommend serves, 1,000 a message."""
    until, served = time.perf_counter() + seconds, 0
    ids = [f"{prefix}{first + n * _STEP % users}" for n in range(min(users, 20_000))]
    calls = stub.BatchRecommend()
    begun = time.perf_counter()
    while time.perf_counter() < until:
        chunk = [ids[(served + n) % len(ids)] for n in range(1_000)]
        await calls.write(recommendations_pb2.BatchRecommendRequest(user_ids=chunk))
        served += len((await calls.read()).rankings)
    await calls.done_writing()
    return served / (time.perf_counter() - begun)


async def main(arguments: argparse.Namespace) -> dict[str, float]:
    async with grpc.aio.insecure_channel(arguments.address, options=client_options()) as channel:
        stub = RecommenderServiceStub(channel)
        who = (arguments.prefix, arguments.users, arguments.first)
        if arguments.kind == "changed":
            return figures(await changed(stub, *who, rounds=int(arguments.amount)), 1.0)
        if arguments.kind == "batches":
            return {"rate": await batches(stub, *who, seconds=arguments.seconds)}
        callers = Callers(stub, *who)
        begun = time.perf_counter()
        if arguments.kind == "closed":
            await callers.closed(int(arguments.amount), arguments.seconds)
        else:
            await callers.open(arguments.amount, arguments.seconds)
        return figures(callers.waits, time.perf_counter() - begun)


def figures(waits: Sequence[float], seconds: float) -> dict[str, float]:
    """Return rate a second, and percentiles in milliseconds."""
    shares = {"p50": 0.5, "p99": 0.99}
    return {"rate": len(waits) / seconds} | {name: 1e3 * percentile(waits, at) for name, at in shares.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("kind", choices=["closed", "open", "changed", "batches"])
    parser.add_argument("amount", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--prefix", default="u")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    print(json.dumps(asyncio.run(main(parser.parse_args()))))
