"""Routes change under load, and no call notices."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest
from trunkline.control.v1.control_pb2 import DrainRequest
from trunkline.control.v1.control_pb2_grpc import ControlServiceStub
from trunkline.inference.v1.inference_pb2 import EmbedRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import (
    RunningGateway,
    eventually,
    gateway_settings,
    running_gateway,
    workers,
)

CALLERS = 6
OTHERS = ("a", "b", "c", "d")

_LOGGER = logging.getLogger(__name__)


@pytest.mark.parametrize(
    "changes",
    [30, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
)
async def test_route_changes_under_load_fail_no_call(tmp_path: Path, changes: int) -> None:
    async with workers(("steady",), ("steady",), ("steady",)) as three:
        settings = gateway_settings(tmp_path, [worker.address for worker in three])
        async with running_gateway(settings) as running:
            await running.until_answers("steady", "w")
            await eventually(lambda: running.serves("trunkline.inference.v1.InferenceService"), within=60)
            mesh, load = Changing(running, three, random.Random(20_26)), Load(running)
            first, began = running.gateway.board.table.revision, time.monotonic()
            async with load:
                while running.gateway.board.table.revision < first + changes:
                    await mesh.change()
                    await eventually(mesh.is_in_effect, within=60)
            seconds = time.monotonic() - began
    assert not load.failures, load.failures[:3]
    assert load.answers.keys() == {"w0", "w1", "w2", "front"}
    _LOGGER.info("%d changes in %.1f s, %d calls, none failed", changes, seconds, load.answers.total())


class Changing:
    """Workers that take models up and give them up, and an operator who drains workers and puts them back.

    `steady` is always somewhere: who takes it up is ready before another gives it up.
    """

    def __init__(self, running: RunningGateway, three: list[FakeWorker], chance: random.Random) -> None:
        self._running = running
        self._three = three
        self._chance = chance
        self._having = set(three)
        self._drained: set[FakeWorker] = set()

    async def change(self) -> None:
        """Change the routes at least once."""
        if self._chance.random() < 0.3:
            await self._toggle(self._chance.choice(self._three))
        else:
            await self._move(set(self._chance.sample(self._three, self._chance.choice((1, 2, 3)))))

    async def is_in_effect(self) -> bool:
        """Tell whether Envoy does as the routes say."""
        return self._running.gateway.publisher.shown == self._running.gateway.board.table.revision

    async def _move(self, having: set[FakeWorker]) -> None:
        if not having - self._drained:
            having |= set(self._three) - self._drained
        for worker in having:
            worker.have(["steady", *self._others()])
        await self._until_with(self._having | having)
        for worker in set(self._three) - having:
            worker.have(self._others())
        await self._until_with(having)
        self._having = having

    async def _toggle(self, worker: FakeWorker) -> None:
        drained = self._drained ^ {worker}
        if not self._having - drained:
            return
        while not await self._drain(worker.address, drained=worker in drained):
            pass
        self._drained = drained

    async def _drain(self, address: str, *, drained: bool) -> bool:
        """Drain, or not, on the routes as they are; return False where they have changed in the meantime."""
        revision = (await self._running.routes()).revision
        request = DrainRequest(
            request_id=f"at {revision}", expected_revision=revision, worker=address, drained=drained
        )
        try:
            await ControlServiceStub(self._running.operators).Drain(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ABORTED:
                return False
            raise
        return True

    def _others(self) -> list[str]:
        return self._chance.sample(OTHERS, 2)

    async def _until_with(self, having: set[FakeWorker]) -> None:
        """Return when the routes say that just these workers, less the drained ones, have the model."""
        wanted = tuple(sorted(worker.address for worker in having - self._drained))
        async with asyncio.timeout(60):
            async for table in self._running.gateway.board.follow():
                route = table.model("steady")
                if route is not None and route.versions[0].workers == wanted:
                    return


class Load:
    """Callers of `steady` at the tensor level and of the front, as fast as they are answered."""

    def __init__(self, running: RunningGateway) -> None:
        self._running = running
        self._callers: list[asyncio.Task[None]] = []
        self.answers: Counter[str] = Counter()
        self.failures: list[grpc.aio.AioRpcError] = []

    async def __aenter__(self) -> None:
        calls = [self._tensors] * (CALLERS - 1) + [self._texts]
        self._callers = [asyncio.create_task(self._repeat(call)) for call in calls]

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)

    async def _repeat(self, call: object) -> None:
        while True:
            try:
                self.answers[await call()] += 1  # type: ignore[operator]
            except grpc.aio.AioRpcError as error:
                self.failures.append(error)

    async def _tensors(self) -> str:
        return (await self._running.infer("steady")).partition(" ")[0]

    async def _texts(self) -> str:
        await InferenceServiceStub(self._running.public).Embed(EmbedRequest(texts=["a"]))
        return "front"
