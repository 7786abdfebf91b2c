"""A steady load of short calls, and what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from tests.e2e.test_public_port import reason

GENERATOR = "smollm2-135m-instruct"
ENCODER = "all-minilm-l6-v2"
BACK_OFF_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """One call: when it began and ended (monotonic seconds), tokens it had sent, and how it failed, if so."""

    began: float
    ended: float
    tokens: int
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""


class Load:
    """Callers that ask again as soon as they are answered, and after a pause when they are refused."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.outcomes: list[Outcome] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep two generating and two embedding callers busy within the context."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = InferenceServiceStub(channel)
            callers = [asyncio.create_task(self._repeat(call, stub)) for call in (generate, embed) * 2]
            try:
                yield
            finally:
                for caller in callers:
                    caller.cancel()
                await asyncio.gather(*callers, return_exceptions=True)

    async def _repeat(self, call: object, stub: InferenceServiceStub) -> None:
        while True:
            outcome = await observe(call, stub)
            self.outcomes.append(outcome)
            if outcome.code is not grpc.StatusCode.OK:
                await asyncio.sleep(BACK_OFF_SECONDS)

    @property
    def failures(self) -> list[Outcome]:
        """The calls that failed."""
        return [outcome for outcome in self.outcomes if outcome.code is not grpc.StatusCode.OK]


async def observe(call: object, stub: InferenceServiceStub) -> Outcome:
    """Make one call and return what became of it."""
    began, tokens = time.monotonic(), [0]
    try:
        await call(stub, tokens)  # type: ignore[operator]
    except grpc.aio.AioRpcError as error:
        why = reason(error) if error.trailing_metadata() else ""
        return Outcome(began, time.monotonic(), tokens[0], error.code(), why)
    return Outcome(began, time.monotonic(), tokens[0])


async def generate(stub: InferenceServiceStub, tokens: list[int]) -> None:
    """Ask for a short answer; count its tokens as they come."""
    request = GenerateRequest(model=GENERATOR, prompt="Once upon a time", max_tokens=12, ignore_eos=True)
    async for event in stub.Generate(request, timeout=120):
        tokens[0] += len(event.delta.token_ids)


async def embed(stub: InferenceServiceStub, tokens: list[int]) -> None:
    """Ask for two vectors."""
    await stub.Embed(EmbedRequest(model=ENCODER, texts=["a cat", "a dog on a sofa"]), timeout=120)
