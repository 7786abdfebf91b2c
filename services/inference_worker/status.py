"""The worker's whole state, for those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from services.inference_worker.changes import LONGEST_S, Changes
from services.inference_worker.devices import Device
from services.inference_worker.engines import Engines
from services.inference_worker.model import Model, ModelState
from services.inference_worker.models import Models
from services.kit.errors import Reason, Unavailable


@dataclass(frozen=True)
class DeviceState:
    """A device and its engine."""

    device: Device
    engine_ready: bool
    engine_pid: int
    engine_restarts: int


@dataclass(frozen=True)
class WorkerState:
    """Everything that a watcher learns. The models are live: encode before the next await."""

    instance_id: str
    devices: list[DeviceState]
    models: list[Model]
    draining: bool
    observed_at: datetime


class Status:
    """Describes the worker, once or to watchers. `instance` names it, as in telemetry.

    `draining` is set when it stops.
    """

    def __init__(
        self, models: Models, engines: Engines, changes: Changes, draining: asyncio.Event, instance: str
    ) -> None:
        self._models = models
        self._engines = engines
        self._changes = changes
        self._draining = draining
        self._instance_id = instance

    @property
    def serving(self) -> bool:
        """Whether the worker is of use: a model is ready, or it was given none."""
        models = self._models.all()
        return not models or any(model.state is ModelState.READY for model in models)

    def state(self) -> WorkerState:
        """Return everything as it is now."""
        devices = [self._device(device) for device in self._engines.devices.values()]
        return WorkerState(
            self._instance_id, devices, self._models.all(), self._draining.is_set(), datetime.now(UTC)
        )

    async def watch(self) -> AsyncIterator[WorkerState]:
        """Yield the state at once, on each change and at least once a second.

        When the worker stops, the last state says so and then Unavailable (DRAINING) is raised.
        """
        while not self._draining.is_set():
            moment = self._changes.now()
            yield self.state()
            await self._changes.since(moment)
        yield self.state()
        raise Unavailable(Reason.DRAINING, "The worker has stopped.")

    async def keep_observing(self) -> None:
        """Look at the devices' memory once a second, for ever."""
        while True:
            await self._engines.observe()
            await asyncio.sleep(LONGEST_S)

    def _device(self, device: Device) -> DeviceState:
        engine = self._engines.process(device.name)
        if engine is None:
            return DeviceState(device, engine_ready=False, engine_pid=0, engine_restarts=0)
        return DeviceState(device, engine.ready, engine.pid, engine.restarts)
