"""The models on this worker: who is there, who is ready, and what their engines say of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from services.inference_worker.changes import Changes
from services.inference_worker.engines import Engines
from services.inference_worker.lifecycle import Lifecycle
from services.inference_worker.model import Model, ModelState
from services.inference_worker.preparation import Preparation
from services.inference_worker.wire import Limits, Load, Report
from services.kit.errors import FailedPrecondition, NotFound, Reason, Unavailable
from services.store.catalogue import Catalogue
from services.store.spec import Task

_LOG = logging.getLogger(__name__)


class Models:
    """Owns the models. All methods are called in the event loop.

    `grace_s` is how long running calls may go on when their engine is to start anew. `heard` is told of every
    report of an engine, after the model has its figures.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        preparation: Preparation,
        engines: Engines,
        limits: Limits,
        changes: Changes,
        grace_s: float,
        heard: Callable[[Model, Report], None],
    ) -> None:
        self._catalogue = catalogue
        self._preparation = preparation
        self._engines = engines
        self._changes = changes
        self._heard = heard
        self._models: dict[str, Model] = {}
        # The catalogue puts the versions of a model in their order: "10" after "9".
        self._ranks = {f"{spec.name}@{spec.version}": rank for rank, spec in enumerate(catalogue)}
        self._lifecycle = Lifecycle(
            preparation=preparation,
            engines=engines,
            limits=limits,
            changes=changes,
            grace_s=grace_s,
            others=self.all,
            listener=self,
        )

    def all(self) -> list[Model]:
        """Return the models by name and version."""
        return sorted(self._models.values(), key=lambda model: (model.spec.name, model.spec.version))

    def ready(self, name: str, version: str, task: Task) -> Model:
        """Return the READY model that does `task`.

        Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND), FailedPrecondition (TASK_UNSUPPORTED),
        Unavailable (MODEL_NOT_READY).
        """
        model = self._find(name, version)
        if model.spec.task is not task:
            raise FailedPrecondition(
                Reason.TASK_UNSUPPORTED,
                f"The model {name!r} does not {task.value}; it is there to {model.spec.task.value}.",
                metadata={"model": name, "task": model.spec.task.name},
            )
        if model.state is not ModelState.READY:
            why = f": {model.message}" if model.message else ""
            message = f"The model {name!r} is {model.state.lower()}{why}."
            raise Unavailable(Reason.MODEL_NOT_READY, message, metadata={"model": name})
        return model

    async def load(self, name: str, version: str = "", device: str = "") -> Model:
        """Return the model once it is READY; who asks meanwhile waits for the same load.

        Raises what the catalogue, the store, `place` and the engine raise.
        """
        spec = self._catalogue.get(name, version)
        model = self._models.get(f"{spec.name}@{spec.version}")
        if model is not None and model.state is ModelState.UNLOADING:
            await self._settled(model)
            return await self.load(name, version, device)
        if model is None or model.state is ModelState.FAILED:
            model = Model(spec, self._preparation.dtype(spec))
            self._models[model.key] = model
            self._begin(model, self._lifecycle.bring_up(model, device))
        if model.state is not ModelState.READY:
            await self._settled(model)
        return model

    async def unload(self, name: str, version: str = "") -> None:
        """Take a model off, after its running calls; raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND)."""
        model = self._find(name, version)
        if model.state is not ModelState.UNLOADING:
            if model.task is not None:
                model.task.cancel()
            model.tell(ModelState.UNLOADING, "its running calls end")
            self._begin(model, self._take_down(model))
        await self._settled(model)

    async def restart_engine(self, device: str) -> None:
        """Start the engine of a device, or of all (""), anew: running calls get a grace, models come back.

        Raises NotFound (DEVICE_NOT_FOUND).
        """
        renewals = []
        for name in self._engines.running(device):
            models = [each for each in self.all() if each.device == name and each.state is ModelState.READY]
            renewal = asyncio.create_task(self._lifecycle.renew_engine(name, models), context=Context())
            renewals.append(renewal)
            for model in models:
                model.tell(ModelState.LOADING, "its engine starts anew once its running calls have ended")
                self._begin(model, self._lifecycle.bring_back(model, renewal))
        if renewals:
            await asyncio.wait(renewals)

    async def close(self) -> None:
        """Stop what is under way. The engines are closed by who made them."""
        tasks = [model.task for model in self._models.values() if model.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def engine_started(self, device: str) -> None:
        """Hear that an engine takes commands: who waits to load onto it goes on by itself."""
        _LOG.info("engine ready", extra={"device": device})
        self._changes.state()

    def engine_lost(self, device: str) -> None:
        """Hear that an engine has ended: its models load again, on the one that follows."""
        for model in self._models.values():
            if model.device == device and model.state is ModelState.READY:
                model.tell(ModelState.LOADING, "its engine has ended, and it loads again")
                model.load = Load()
                self._begin(model, self._lifecycle.bring_back(model))
        self._changes.state()

    def engine_reported(self, device: str, report: Report) -> None:
        """Hear of a step."""
        model = self._models.get(report.model)
        if model is not None and model.device == device and model.loaded is not None:
            model.load = report.load
            self._changes.figures()
            self._heard(model, report)

    def _find(self, name: str, version: str) -> Model:
        """Return the model of this name and version; with none named, the newest that is ready."""
        models = [model for model in self.all() if model.spec.name == name]
        if not models:
            message = f"No model named {name!r} is on this worker."
            raise NotFound(Reason.MODEL_NOT_FOUND, message, metadata={"model": name})
        if version:
            models = [model for model in models if model.spec.version == version]
        if not models:
            message = f"The model {name!r} is on this worker, but not in version {version!r}."
            metadata = {"model": name, "version": version}
            raise NotFound(Reason.VERSION_NOT_FOUND, message, metadata=metadata)
        return max(models, key=lambda model: (model.state is ModelState.READY, self._ranks[model.key]))

    async def _take_down(self, model: Model) -> None:
        try:
            await self._lifecycle.take_down(model)
        finally:
            if self._models.get(model.key) is model:
                del self._models[model.key]
            self._changes.state()

    def _begin(self, model: Model, work: Coroutine[Any, Any, None]) -> None:
        # A context of its own: the work outlives the call that asked for it, and has not its deadline.
        task = asyncio.create_task(work, name=f"model {model.key}", context=Context())
        model.task = task
        # Who waits gets the error; where nobody does, the model's state has it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._changes.state()

    async def _settled(self, model: Model) -> None:
        """Wait for what is under way with a model, and raise what goes wrong; leaving early ends nothing."""
        if model.task is None:
            return
        await asyncio.wait([model.task])
        if model.task.cancelled():
            name = model.spec.name
            message = f"The model {name!r} was taken off before it was ready."
            raise Unavailable(Reason.MODEL_NOT_READY, message, metadata={"model": name})
        model.task.result()
