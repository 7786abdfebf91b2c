"""Trunkline through its public port: the calls that benchmarks make, and a contestant made of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator, Sequence
from typing import TypeVar

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import TokenIds

from benchmarks import quiet
from benchmarks.figures import Wave
from benchmarks.peers.models import ENCODER
from services.kit.command import public_address

T = TypeVar("T")
WAKE_SECONDS, SETTLE_SECONDS = 30.0, 1.0


class Mesh:
    """Calls through the public port, from this process, which shares the cores with all of the mesh.

    `pid` is the process that has started all of it, which is halted but for its turns.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._runner = asyncio.Runner()
        self._channel = self._runner.run(self._open())
        self._stub = InferenceServiceStub(self._channel)

    async def _open(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(public_address())

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run, and wait until it answers: for its parts, the others were silent for a while."""
        quiet.resume(self._pid)
        try:
            self.run(self._awake())
            yield
        finally:
            quiet.halt(self._pid)

    async def _awake(self) -> None:
        until = time.monotonic() + WAKE_SECONDS
        while True:
            try:
                await self.embed("Is somebody there?")
                break
            except grpc.aio.AioRpcError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_SECONDS)

    def run(self, work: Awaitable[T]) -> T:
        """Return what `work` gives, done on the loop that the channel belongs to."""

        async def awaited() -> T:
            return await work

        return self._runner.run(awaited())

    async def answer(self, model: str, prompt: Sequence[int], new_tokens: int, began: float) -> list[float]:
        """Return when the tokens of one answer came, in seconds since `began`."""
        request = GenerateRequest(model=model, token_ids=TokenIds(ids=prompt), max_tokens=new_tokens)
        request.ignore_eos, request.temperature = True, 0
        times: list[float] = []
        async for event in self._stub.Generate(request):
            count = len(event.delta.token_ids)
            times += [time.perf_counter() - began] * count
        return times

    async def embed(self, sentence: str) -> Sequence[float]:
        """Return one sentence's vector."""
        answer = await self._stub.Embed(EmbedRequest(model=ENCODER, texts=[sentence]))
        return answer.embeddings[0].values

    def close(self) -> None:
        """Close the channel."""
        self._runner.run(self._channel.close())
        self._runner.close()


class MeshGenerator:
    """One precision of the default model, through the public port."""

    def __init__(self, name: str, model: str, mesh: Mesh) -> None:
        self.name = name
        self._model = model
        self._mesh = mesh

    def wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        """As the protocol of Generator has it."""

        async def all_at_once() -> Wave:
            began = time.perf_counter()
            answers = (self._mesh.answer(self._model, each, new_tokens, began) for each in prompts)
            return Wave(await asyncio.gather(*answers))

        return self._mesh.run(all_at_once())

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """As the protocol of Generator has it."""
        return self._mesh.turn()

    def close(self) -> None:
        """Leave the mesh to who started it."""
