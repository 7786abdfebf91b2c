"""Many callers of all kinds: who wait, who leave amid an answer, and who give up at a deadline."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from tests.e2e.prose import prose, sentences

GENERATOR = "smollm2-135m-instruct"
ENCODER = "all-minilm-l6-v2"
TENANTS = ("", "north", "south", "east")
LONGEST_ANSWER = 200


@dataclass(frozen=True)
class Case:
    """A request, and when its caller goes: after so many tokens or seconds, or not before the end."""

    request: GenerateRequest | EmbedRequest
    leaves_after_tokens: int | None = None
    gives_up_after_s: float | None = None

    @property
    def waits(self) -> bool:
        """Whether the caller waits for the whole answer."""
        return self.leaves_after_tokens is None and self.gives_up_after_s is None


@dataclass(frozen=True)
class Outcome:
    """What became of a call; `text` and `tokens` are all that had come when it ended."""

    case: Case
    code: grpc.StatusCode
    text: str = ""
    tokens: tuple[int, ...] = ()
    complete: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_token_s: float = math.nan


def cases(seed: int) -> Iterator[Case]:
    """Yield cases without end, the same ones for the same seed."""
    chance = random.Random(seed)
    prefixes = [
        prose()[start : start + 300 * (each + 1)] for each, start in enumerate(range(0, 60_000, 10_000))
    ]
    while True:
        if chance.random() < 0.25:
            texts = chance.sample(sentences(), k=chance.randint(1, 4))
            yield Case(EmbedRequest(model=ENCODER, texts=texts), gives_up_after_s=None)
        else:
            yield _generate(chance, chance.choice(["", *prefixes]))


def _generate(chance: random.Random, prefix: str) -> Case:
    """Return an answer to ask for: of any length, after a prompt that others may share the beginning of."""
    start, tokens = (
        chance.randrange(60_000, 400_000),
        round(math.exp(chance.uniform(1, math.log(LONGEST_ANSWER)))),
    )
    request = GenerateRequest(
        model=GENERATOR,
        prompt=prefix + prose()[start : start + chance.randint(20, 800)],
        max_tokens=tokens,
        ignore_eos=True,
        seed=chance.randrange(1 << 32),
        temperature=chance.choice([0, 0, 1]),
        tenant=chance.choice(TENANTS),
        priority=chance.choice([-1, 0, 0, 2]),
    )
    match chance.random():
        case fate if fate < 0.15:
            return Case(request, leaves_after_tokens=chance.randrange(tokens))
        case fate if fate < 0.25:
            return Case(request, gives_up_after_s=math.exp(chance.uniform(math.log(0.02), math.log(3))))
    return Case(request)


async def ask(stub: InferenceServiceStub, case: Case) -> Outcome:
    """Make the call as its caller would, and return what became of it."""
    if isinstance(case.request, EmbedRequest):
        return await _embed(stub, case)
    began, first, text, tokens, finish = time.monotonic(), math.nan, "", [], None
    call: Any = stub.Generate(case.request, timeout=case.gives_up_after_s)
    try:
        while finish is None:
            if case.leaves_after_tokens is not None and len(tokens) >= case.leaves_after_tokens:
                call.cancel()
                return Outcome(case, grpc.StatusCode.CANCELLED, text, tuple(tokens))
            event = await call.read()
            if event is grpc.aio.EOF:
                return Outcome(case, grpc.StatusCode.UNKNOWN, text, tuple(tokens))
            if math.isnan(first) and event.HasField("delta"):
                first = time.monotonic() - began
            text += event.delta.text
            tokens += event.delta.token_ids
            finish = event.finish if event.HasField("finish") else None
        ended = await call.read() is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        return Outcome(case, error.code(), text, tuple(tokens))
    complete = ended and len(tokens) == finish.usage.completion_tokens == case.request.max_tokens
    usage = finish.usage
    return Outcome(
        case,
        await call.code(),
        text,
        tuple(tokens),
        complete,
        usage.prompt_tokens,
        usage.cached_tokens,
        first,
    )


async def _embed(stub: InferenceServiceStub, case: Case) -> Outcome:
    assert isinstance(case.request, EmbedRequest)
    try:
        answer = await stub.Embed(case.request)
    except grpc.aio.AioRpcError as error:
        return Outcome(case, error.code())
    lengths = [sum(value * value for value in vector.values) for vector in answer.embeddings]
    complete = len(lengths) == len(case.request.texts) and all(abs(each - 1) < 1e-2 for each in lengths)
    return Outcome(case, grpc.StatusCode.OK, complete=complete)


async def saturate(stub: InferenceServiceStub, seed: int, callers: int, seconds: float) -> float:
    """Return the calls a second that end when `callers` ask again as soon as they are answered.

    A third of `seconds` goes by before the count begins: at first all read and nobody is done.
    """
    supply, began, ended = cases(seed), time.monotonic(), 0
    counted, until = began + seconds / 3, began + seconds

    async def caller() -> None:
        nonlocal ended
        while time.monotonic() < until:
            case = next(supply)
            await ask(stub, Case(case.request, case.leaves_after_tokens))
            ended += counted < time.monotonic() < until

    await asyncio.gather(*(caller() for _ in range(callers)))
    assert ended, "nobody was answered: nothing can be told of saturation"
    return ended / (until - counted)


async def arrive(stub: InferenceServiceStub, seed: int, rate: float, seconds: float) -> list[Outcome]:
    """Make calls at random moments, `rate` a second on average, and return what became of all of them."""
    chance, supply, until = random.Random(seed), cases(seed), time.monotonic() + seconds
    calls: list[asyncio.Task[Outcome]] = []
    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while (due := due + chance.expovariate(rate)) < until:
            await asyncio.sleep(due - time.monotonic())
            calls.append(group.create_task(ask(stub, next(supply))))
    return [call.result() for call in calls]
