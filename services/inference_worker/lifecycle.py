"""What happens to a model: its files are fetched, it gets a place, an engine loads it, one day it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from services.inference_worker.changes import Changes
from services.inference_worker.engine_process import EngineListener
from services.inference_worker.engines import Engines
from services.inference_worker.footprint import Footprint
from services.inference_worker.model import Model, ModelState
from services.inference_worker.placement import LEAST_CACHE_TOKENS, Room, place
from services.inference_worker.preparation import Preparation
from services.inference_worker.wire import Limits, Loaded
from services.kit.errors import FailedPrecondition, Internal, Reason, TrunklineError, Unavailable

_LOG = logging.getLogger(__name__)

LOAD_TRIES = 3
"""An engine that ends this often while it loads a model ends because of it."""
_SPARE = 10
"""Where the cache takes what memory leaves, the tenth part of a device is left to others."""


class Lifecycle:
    """Moves models from state to state.

    `others` gives all models of this worker; `listener` is told what engines do.
    """

    def __init__(
        self,
        *,
        preparation: Preparation,
        engines: Engines,
        limits: Limits,
        changes: Changes,
        grace_s: float,
        others: Callable[[], Iterable[Model]],
        listener: EngineListener,
    ) -> None:
        self._preparation = preparation
        self._engines = engines
        self._limits = limits
        self._changes = changes
        self._grace_s = grace_s
        self._others = others
        self._listener = listener
        # One load on a device at a time: should the engine end meanwhile, it is known which model did it.
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bring_up(self, model: Model, device: str) -> None:
        """Take a model from nothing to READY, or to FAILED and raise; `device` "" leaves the place open."""
        await self._guarded(model, self._fetch_and_load(model, device))

    async def bring_back(self, model: Model, after: asyncio.Task[None] | None = None) -> None:
        """Load a model again whose engine has ended, or is started anew by the task `after`."""
        if after is not None:
            await asyncio.wait([after])
        await self._guarded(model, self._load(model))

    async def renew_engine(self, device: str, models: Iterable[Model]) -> None:
        """Start an engine anew once these models' calls have ended, and after `grace_s` in any case."""
        engine = self._engines.process(device)
        session = engine.session if engine is not None else None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace_s):
                    for model in models:
                        await session.mailboxes.empty(model.key)
        await self._engines.restart(device)

    async def take_down(self, model: Model) -> None:
        """Take a model off its engine once its requests have ended; an engine without models ends."""
        engine = self._engines.process(model.device)
        session = engine.session if engine is not None else None
        if session is not None:
            await session.mailboxes.empty(model.key)
            try:
                await session.unload(model.key)
            except Unavailable:
                _LOG.info("%s went with its engine", model.key)
        device, model.placement = model.device, None
        await self._retire_unneeded(device)

    async def _guarded(self, model: Model, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`; what goes wrong becomes the model's state, and is raised."""
        try:
            await work
        except TrunklineError as error:
            await self._fail(model, error.message)
            raise
        except Exception as error:
            _LOG.exception("bringing up %s failed", model.key)
            await self._fail(model, "a fault of the worker; its log has the cause")
            raise Internal(Reason.INTERNAL, f"{model.key} cannot be loaded; the log has the cause") from error

    async def _fail(self, model: Model, message: str) -> None:
        device = model.device
        model.fail(message)
        self._changes.state()
        await self._retire_unneeded(device)

    async def _retire_unneeded(self, device: str) -> None:
        """End an engine that no model needs."""
        if not any(model.device == device for model in self._others()):
            await self._engines.retire(device)

    async def _fetch_and_load(self, model: Model, device: str) -> None:
        def progress(fraction: float, sentence: str) -> None:
            if model.state is ModelState.FETCHING:
                model.progress, model.message = fraction, sentence
                self._changes.figures()

        fetched = await self._preparation.fetch(model.spec, progress)
        await self._engines.observe()
        devices = self._engines.devices
        footprints = {name: self._preparation.footprint(fetched, each) for name, each in devices.items()}
        self._place(model, footprints, device or model.spec.device)
        prepared = await self._preparation.prepare(fetched, devices[model.device], progress)
        model.prepared, model.dtype = prepared, prepared.way.precision
        # Once more, now that the weights have been measured: the cache gets what they leave.
        self._place(model, {model.device: prepared.footprint}, model.device)
        await self._load(model)

    def _place(self, model: Model, footprints: Mapping[str, Footprint], pinned: str) -> None:
        model.placement = None  # what it was promised is free for itself
        tokens = self._limits.cache_tokens or self._limits.running * _longest(footprints)
        model.placement = place(footprints, tokens, self._rooms(), pinned)

    async def _load(self, model: Model) -> None:
        model.tell(ModelState.LOADING, "its weights go onto the device")
        self._changes.state()
        async with self._loading[model.device]:
            loaded = await self._loaded(model)
        model.become_ready(loaded)
        _LOG.info("model ready", extra={"model": model.key, "device": model.device})
        self._changes.state()

    async def _loaded(self, model: Model) -> Loaded:
        for _ in range(LOAD_TRIES):
            engine = await self._engines.started(model.device, self._listener)
            try:
                return await (await engine.available()).load(model.command(self._limits))
            except Unavailable:
                _LOG.warning("the engine ended while it loaded %s", model.key)
        raise FailedPrecondition(
            Reason.MODEL_LOAD_FAILED,
            f"The engine ended {LOAD_TRIES} times while it loaded {model.spec.name!r}.",
            metadata={"model": model.spec.name},
        )

    def _rooms(self) -> list[Room]:
        """Return the room on each device: what nobody has been promised, or less where others use it."""
        rooms = []
        for device in self._engines.devices.values():
            here = [model for model in self._others() if model.device == device.name]
            promised = sum(model.memory_bytes for model in here)
            coming = sum(model.memory_bytes for model in here if model.loaded is None)
            spare = 0 if self._limits.cache_tokens else device.total_bytes // _SPARE
            free = min(device.total_bytes - promised, device.free_bytes - coming) - spare
            rooms.append(Room(device.name, max(0, free)))
        return rooms


def _longest(footprints: Mapping[str, Footprint]) -> int:
    return max(each.context_length for each in footprints.values()) or LEAST_CACHE_TOKENS
