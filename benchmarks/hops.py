"""`python -m benchmarks.hops`: what each hop costs, in microseconds of CPU a token and a request.

A mesh of the shipped defaults is started and loaded through its public port: engine → worker → front → Envoy
→ this client, all on the same cores. CPU time of each process, as the kernel counts it, is divided by the
tokens or by the requests; so neighbours on the machine change the figures little.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass

import grpc
import psutil
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import TokenIds

from gateway.commands.lent_mesh import lent_mesh
from services.kit.command import CommandError, public_address

GENERATOR, ENCODER = "smollm2-135m-instruct", "all-minilm-l6-v2"
PROMPT_TOKENS, WARM_S = 64, 2.0
# In the order of a token's way; the first whose words are in a command line has the process.
HOPS = {
    "engine": "services.inference_worker.engine",
    "worker": "services.inference_worker",
    "tokenizer": "services.tokenizer",
    "front": "gateway.front",
    "Envoy": "envoy",
    "controller": "-m gateway",
    "monitor": "services.monitor",
}
WORDS = (
    "sea",
    "still",
    "grey",
    "boats",
    "wait",
    "wind",
    "night",
    "harbour",
    "tide",
    "lantern",
    "rope",
    "gull",
)


@dataclass(frozen=True)
class Cost:
    """What a load cost: microseconds of CPU a `unit` of each hop, and how many units there were a second."""

    unit: str
    concurrency: int
    rate: float
    microseconds: Mapping[str, float]


def processes() -> dict[str, list[psutil.Process]]:
    """Return the processes of the mesh that was started by this one, by hop; this one is the client."""
    found: dict[str, list[psutil.Process]] = {hop: [] for hop in HOPS}
    for child in psutil.Process().children(recursive=True):
        line = " ".join(child.cmdline())
        hop = next((hop for hop, words in HOPS.items() if words in line and "launcher.py" not in line), None)
        if hop is not None:
            found[hop].append(child)
    return {**found, "client": [psutil.Process()]}


def used(hops: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    """Return the seconds of CPU that each hop has used so far."""
    times = {hop: [process.cpu_times() for process in own] for hop, own in hops.items()}
    return {hop: sum(each.user + each.system for each in own) for hop, own in times.items()}


async def measured(
    unit: str, concurrency: int, seconds: float, caller: Callable[[InferenceServiceStub], AsyncIterator[int]]
) -> Cost:
    """Let `concurrency` callers call for `seconds`, again and again, and return what a unit cost."""
    done = 0

    async def call(stub: InferenceServiceStub) -> None:
        nonlocal done
        while True:
            async for count in caller(stub):
                done += count

    async with grpc.aio.insecure_channel(public_address()) as channel:
        stub = InferenceServiceStub(channel)
        calls = [asyncio.create_task(call(stub)) for _ in range(concurrency)]
        await asyncio.sleep(WARM_S)
        hops = processes()
        before, counted, began = used(hops), done, time.monotonic()
        await asyncio.sleep(seconds)
        after, units, took = used(hops), max(1, done - counted), time.monotonic() - began
        for each in calls:
            each.cancel()
        await asyncio.wait(calls)
    costs = {hop: (after[hop] - before[hop]) / units * 1e6 for hop in after}
    return Cost(unit, concurrency, units / took, costs)


def generating(tokens: int) -> Callable[[InferenceServiceStub], AsyncIterator[int]]:
    """Return a caller that has `tokens` made and counts them as they come."""
    numbers = random.Random(7)

    async def caller(stub: InferenceServiceStub) -> AsyncIterator[int]:
        ids = TokenIds(ids=numbers.choices(range(1_000, 40_000), k=PROMPT_TOKENS))
        request = GenerateRequest(model=GENERATOR, token_ids=ids, max_tokens=tokens, ignore_eos=True)
        request.temperature = 0
        async for event in stub.Generate(request):
            yield len(event.delta.token_ids)

    return caller


def embedding() -> Callable[[InferenceServiceStub], AsyncIterator[int]]:
    """Return a caller that asks for the vector of one sentence."""
    numbers, serial = random.Random(7), itertools.count()

    async def caller(stub: InferenceServiceStub) -> AsyncIterator[int]:
        text = f"{next(serial)} {' '.join(numbers.choices(WORDS, k=8))}"
        yield len((await stub.Embed(EmbedRequest(model=ENCODER, texts=[text]))).embeddings)

    return caller


async def measure(seconds: float) -> list[Cost]:
    """Return the costs of a streamed token and of an Embed of one sentence."""
    costs = [await measured("token", count, seconds, generating(64)) for count in (1, 8, 32)]
    return costs + [await measured("embed", count, seconds, embedding()) for count in (1, 32, 128)]


def table(costs: list[Cost]) -> str:
    """Return the costs as a table in Markdown."""
    hops = list(costs[0].microseconds)
    lines = [
        f"| µs of CPU a … | at once | a second | {' | '.join(hops)} | all |",
        "| --- " * (len(hops) + 4) + "|",
    ]
    for cost in costs:
        figures = [f"{cost.microseconds[hop]:.0f}" for hop in hops]
        total = f"{sum(cost.microseconds.values()):.0f}"
        lines.append(
            f"| {cost.unit} | {cost.concurrency} | {cost.rate:.0f} | {' | '.join(figures)} | {total} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Start a mesh, measure, print."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.hops", description=__doc__)
    asked.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts")
    asked.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = asked.parse_args()
    with lent_mesh(quiet=True) as own:
        if not own:
            raise CommandError("A mesh answers already; stop it, since this one must see its processes.")
        costs = asyncio.run(measure(options.seconds))
    print(json.dumps([asdict(cost) for cost in costs]) if options.json else table(costs))


if __name__ == "__main__":
    sys.exit(main())
