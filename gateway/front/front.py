"""The front put together: follows the routes and the workers on them, and answers InferenceService."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Self

from trunkline.inference.v1.inference_pb2 import DESCRIPTOR
from trunkline.inference.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server

from gateway.following import Follower
from gateway.front.artifacts import Artifacts
from gateway.front.attempts import Attempts
from gateway.front.calls import Task
from gateway.front.choosing import Choosing
from gateway.front.controller_client import ControllerClient
from gateway.front.embedding import Embedding
from gateway.front.encoding import Encoder
from gateway.front.generation import Generation
from gateway.front.picking import Picker
from gateway.front.reranking import Reranking
from gateway.front.routes import Routes, RouteTable
from gateway.front.service import InferenceServicer
from gateway.front.settings import FrontSettings
from gateway.front.tokenizer_client import TokenizerClient
from gateway.front.worker_client import WorkerClient
from gateway.front.workers import Workers
from services.kit.bandit import Bandit, PolicyBandit
from services.kit.channel import Channels
from services.kit.server import Server
from services.kit.telemetry import Telemetry

SERVICE = DESCRIPTOR.services_by_name["InferenceService"]


class Front:
    """Follows the routes while it is open (`async with`). `watches` are channels that leave no spans.

    Its service is SERVING once the controller has sent routes and each worker on them was heard of: from then
    on it answers by itself, also while the controller is away.
    """

    def __init__(
        self, settings: FrontSettings, telemetry: Telemetry, channels: Channels, watches: Channels
    ) -> None:
        tokenizer = TokenizerClient(channels.to(settings.tokenizer), settings.encode_limit)
        # Artefacts are fetched on nobody's behalf, and again and again while the service is down.
        shelf = TokenizerClient(watches.to(settings.tokenizer), settings.encode_limit)
        self._calls = WorkerClient(channels, settings.stall_limit)
        self._watches = WorkerClient(watches, settings.stall_limit)
        self._routes = Routes()
        self._choosing = Choosing(self._routes, self._bandits(settings, channels))
        self._workers = Workers(self._watches.watch, Picker(), settings.worker_silence, self._part)
        self._artifacts = Artifacts(shelf.fetch, settings.artifact_cache)
        self._encoder = Encoder(tokenizer.encode, telemetry.tracer)
        self._attempts = Attempts(self._workers, self._calls)
        self._controller = ControllerClient(watches.to(settings.controller))
        self._known = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def register(self, server: Server) -> None:
        """Answer InferenceService on `server`."""
        generation = Generation(self._choosing, self._workers, self._encoder, self._artifacts, self._attempts)
        embedding = Embedding(self._routes, self._workers, self._encoder, self._attempts)
        ranking = Reranking(embedding)
        service = InferenceServicer(self._routes, generation, embedding, ranking)
        server.add(SERVICE, add_InferenceServiceServicer_to_server, service, serving=False)
        self._start(self._announce(server))

    def take(self, table: RouteTable) -> None:
        """Put the controller's routes in force."""
        self._routes.replace(table)
        self._workers.follow(table.workers)
        self._artifacts.prefetch(table.digests(Task.GENERATE))
        self._known.set()

    @staticmethod
    def _bandits(settings: FrontSettings, channels: Channels) -> Callable[[str], Bandit | None]:
        if not settings.version_policy:
            return lambda _: None
        policies = channels.to(settings.policies)

        @lru_cache
        def bandit_of(model: str) -> Bandit:
            return PolicyBandit(policies, f"{settings.version_policy}{model}", settings.version_policy_limit)

        return bandit_of

    def _part(self, worker: str) -> None:
        for client in (self._calls, self._watches):
            self._start(client.forget(worker))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce(self, server: Server) -> None:
        await self._known.wait()
        await self._workers.settled(self._routes.table.workers)
        server.set_serving(SERVICE.full_name, serving=True)

    async def __aenter__(self) -> Self:
        follower = Follower("the stream of routes", self._controller.watch, self.take, _keep_the_last_table)
        self._start(follower.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._workers.close()
        await self._calls.close()
        await self._artifacts.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _keep_the_last_table() -> None:
    """Do nothing: routes that were right a moment ago are better than none."""
