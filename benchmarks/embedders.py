"""Who makes vectors beside Trunkline: servers with the same torch code behind them, and how each is asked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import grpc

from benchmarks.contestant import Process
from benchmarks.mesh import Mesh
from benchmarks.peers.open_inference import OpenInference

Embed = Callable[[str], Awaitable[Sequence[float]]]
START_SECONDS = 240.0


@dataclass(frozen=True)
class Load:
    """What a closed loop of callers saw: each asks for one sentence, then for the next."""

    seconds: float
    waits: Sequence[float]
    """The seconds that each answer took."""

    @property
    def rate(self) -> float:
        """Sentences a second."""
        return len(self.waits) / self.seconds


class Embedder(Protocol):
    """Makes vectors, one sentence a request."""

    name: str

    def load(self, sentences: Sequence[str], concurrency: int) -> Load:
        """Have this many callers ask for all sentences between them."""

    def vectors(self, sentences: Sequence[str]) -> list[Sequence[float]]:
        """Return the sentences' vectors, in order."""

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Have the cores for as long as this is open."""

    def close(self) -> None:
        """End."""


async def closed_loop(embed: Embed, sentences: Sequence[str], concurrency: int) -> Load:
    """Return what `concurrency` callers see who ask for all sentences between them."""
    waiting, waits = iter(sentences), []

    async def caller() -> None:
        for sentence in waiting:
            asked = time.perf_counter()
            await embed(sentence)
            waits.append(time.perf_counter() - asked)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return Load(time.perf_counter() - began, waits)


async def one_by_one(embed: Embed, sentences: Sequence[str]) -> list[Sequence[float]]:
    """Return the sentences' vectors."""
    return [await embed(sentence) for sentence in sentences]


class MeshEmbedder:
    """Trunkline through its public port."""

    def __init__(self, mesh: Mesh) -> None:
        self.name = "Trunkline, public port"
        self._mesh = mesh

    def load(self, sentences: Sequence[str], concurrency: int) -> Load:
        """As the protocol has it."""
        return self._mesh.run(closed_loop(self._mesh.embed, sentences, concurrency))

    def vectors(self, sentences: Sequence[str]) -> list[Sequence[float]]:
        """As the protocol has it."""
        return self._mesh.run(one_by_one(self._mesh.embed, sentences))

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """As the protocol has it."""
        return self._mesh.turn()

    def close(self) -> None:
        """Leave the mesh to who started it."""


class Server(Process):
    """A server that is asked over a connection which is opened for each load, before its clock starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        port: int,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, command, log, variables)
        self.address = f"127.0.0.1:{port}"
        asyncio.run(self._until_ready())

    def connected(self) -> contextlib.AbstractAsyncContextManager[Embed]:
        """Open a connection, for which the server's protocol stands."""
        raise NotImplementedError

    def load(self, sentences: Sequence[str], concurrency: int) -> Load:
        """As the protocol of Embedder has it."""

        async def loaded() -> Load:
            async with self.connected() as embed:
                await embed(sentences[0])
                return await closed_loop(embed, sentences, concurrency)

        try:
            return asyncio.run(loaded())
        except (grpc.aio.AioRpcError, aiohttp.ClientError, OSError) as error:
            raise self.failed(f"has failed ({error})") from error

    def vectors(self, sentences: Sequence[str]) -> list[Sequence[float]]:
        """As the protocol of Embedder has it."""

        async def made() -> list[Sequence[float]]:
            async with self.connected() as embed:
                return await one_by_one(embed, sentences)

        return asyncio.run(made())

    async def _until_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.running.poll() is not None:
                raise self.failed("has ended")
            with contextlib.suppress(grpc.aio.AioRpcError, aiohttp.ClientError, OSError):
                async with self.connected() as embed:
                    await embed("Is somebody there?")
                return
            await asyncio.sleep(0.25)
        raise self.failed(f"does not answer after {START_SECONDS:.0f} s")


class OpenInferenceServer(Server):
    """One that speaks the Open Inference Protocol over gRPC: Triton, MLServer."""

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Embed]:
        """As Server has it."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            yield OpenInference(channel).embed


class InfinityServer(Server):
    """infinity's own HTTP."""

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Embed]:
        """As Server has it."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(f"http://{self.address}", connector=connector) as session:

            async def embed(sentence: str) -> list[float]:
                wanted = {"model": "embed", "input": [sentence]}
                async with session.post("/embeddings", json=wanted) as response:
                    response.raise_for_status()
                    vector: list[float] = (await response.json())["data"][0]["embedding"]
                    return vector

            yield embed
