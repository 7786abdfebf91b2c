"""The engines of this worker, one a device, each there while a model needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.inference_worker.devices import Device, DeviceInventory
from services.inference_worker.engine_process import EngineListener, EngineProcess
from services.inference_worker.settings import EngineOptions
from services.kit.errors import NotFound, Reason


class Engines:
    """Owns the engine processes. `observe` first; `close` at the end."""

    def __init__(self, inventory: DeviceInventory, options: EngineOptions) -> None:
        self._inventory = inventory
        self._options = options
        self._devices: dict[str, Device] = {}
        self._processes: dict[str, EngineProcess] = {}

    @property
    def devices(self) -> Mapping[str, Device]:
        """The devices by name, with their memory as last observed."""
        return self._devices

    async def observe(self) -> None:
        """Look at the devices and their memory anew."""
        devices = await asyncio.to_thread(self._inventory.observe)
        self._devices = {device.name: device for device in devices}

    def process(self, device: str) -> EngineProcess | None:
        """Return the engine of a device, None while there is none."""
        return self._processes.get(device)

    async def started(self, device: str, listener: EngineListener) -> EngineProcess:
        """Return the engine of a device, started if it was not; `listener` hears what it does."""
        process = self._processes.get(device)
        if process is None:
            process = EngineProcess(self._device(device), self._options, listener)
            self._processes[device] = process
            await process.start()
        return process

    async def retire(self, device: str) -> None:
        """End the engine of a device, which holds no model: only so does all of its memory come back."""
        process = self._processes.pop(device, None)
        if process is not None:
            await process.stop()

    def running(self, device: str) -> list[str]:
        """Return which of one device or all ("") have an engine; raises NotFound (DEVICE_NOT_FOUND)."""
        if device:
            self._device(device)
        return [name for name in self._processes if device in {"", name}]

    async def restart(self, device: str) -> None:
        """End the engine of a device, if there is one, and start it anew."""
        process = self._processes.get(device)
        if process is not None:
            await process.restart()

    async def close(self) -> None:
        """End all engines."""
        processes, self._processes = list(self._processes.values()), {}
        await asyncio.gather(*(process.stop() for process in processes))

    def _device(self, name: str) -> Device:
        device = self._devices.get(name)
        if device is None:
            names = ",".join(self._devices)
            raise NotFound(
                Reason.DEVICE_NOT_FOUND,
                f"This worker has no device {name!r}, only {names}.",
                metadata={"device": name, "devices": names},
            )
        return device
