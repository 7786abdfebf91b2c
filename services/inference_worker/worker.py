"""A worker in one piece: devices, engines, models and what answers requests, put together from settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Self

from services.inference_worker import native
from services.inference_worker.changes import Changes
from services.inference_worker.converter import Converter
from services.inference_worker.devices import DeviceInventory
from services.inference_worker.engines import Engines
from services.inference_worker.inference import Inference
from services.inference_worker.models import Models
from services.inference_worker.observation import Observation
from services.inference_worker.preparation import Preparation
from services.inference_worker.settings import WorkerSettings
from services.inference_worker.status import Status
from services.kit.errors import NotFound, TrunklineError, Unavailable
from services.kit.settings import SettingsError
from services.kit.telemetry import Telemetry
from services.store.catalogue import Catalogue
from services.store.store import Store

_LOG = logging.getLogger(__name__)

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 300.0


class Worker:
    """Everything but gRPC. `async with` starts it: devices are observed, the settings' models begin to load.

    `draining` is set by who stops the server. `said` is told whether the worker serves, whenever that may
    have changed. Raises SettingsError for a model that the catalogue does not have.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        telemetry: Telemetry,
        inventory: DeviceInventory,
        draining: asyncio.Event,
        said: Callable[[bool], None],
    ) -> None:
        self._names = settings.store.models
        self._draining = draining
        self._said = said
        self._changes = Changes()
        self._converter = Converter()
        self._tasks: list[asyncio.Task[None]] = []
        catalogue = Catalogue.read(settings.store.catalogue)
        _check(self._names, catalogue)
        observation = Observation(telemetry)
        self.engines = Engines(inventory, settings.engine)
        self.models = Models(
            catalogue=catalogue,
            preparation=Preparation(
                Store(settings.store.cache), self._converter, settings.dtype, native.find()
            ),
            engines=self.engines,
            limits=settings.limits,
            changes=self._changes,
            grace_s=settings.drain_s,
            heard=observation.heard,
        )
        limit = settings.max_sequences + settings.max_queue
        self.inference = Inference(self.models, self.engines, observation, limit)
        self.status = Status(self.models, self.engines, self._changes, draining, telemetry.instance)

    async def __aenter__(self) -> Self:
        await self.engines.observe()
        for name in self._names:
            self._run(self._bring_up(name))
        self._run(self.status.keep_observing())
        self._run(self._tell())
        self._run(self._announce_stop())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.models.close()
        await asyncio.gather(self.engines.close(), self._converter.close())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_report)
        self._tasks.append(task)

    async def _bring_up(self, name: str) -> None:
        """Load a model of the settings, and try again while that fails: nobody else will ask for it."""
        delay = FIRST_RETRY_S
        while True:
            try:
                await self.models.load(name)
            except Unavailable:
                return  # an operator has taken it off
            except TrunklineError as error:
                _LOG.warning("%s: %s", name, error.message)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_S)
            else:
                return

    async def _announce_stop(self) -> None:
        await self._draining.wait()
        self._changes.state()

    async def _tell(self) -> None:
        while True:
            moment = self._changes.now()
            self._said(self.status.serving)
            await self._changes.since(moment)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _LOG.error("a task of the worker has ended", exc_info=error)


def _check(names: tuple[str, ...], catalogue: Catalogue) -> None:
    for name in names:
        try:
            catalogue.get(name)
        except NotFound as error:
            raise SettingsError(f"TRUNKLINE_MODELS cannot be used: {error.message}") from error
