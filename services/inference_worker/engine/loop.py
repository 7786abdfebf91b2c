"""The engine's loop: the only thread that touches models at work."""

from __future__ import annotations

import logging
import os
from collections import deque
from queue import SimpleQueue
from threading import Thread

from services.inference_worker.engine.backend import Backend, ServedModel
from services.inference_worker.engine.link import Link, LinkClosed
from services.inference_worker.wire import (
    Cancel,
    Command,
    Embed,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    Output,
    Report,
    Started,
    Unloaded,
    UnloadModel,
)

_LOG = logging.getLogger(__name__)

_SENTENCE = 500  # characters of an error that are told
_LoadResult = tuple[ServedModel, Loaded] | LoadFailed


class Loop:
    """Receives commands, gives each model with work one step in turn, and sends one message a step."""

    def __init__(self, link: Link, backend: Backend) -> None:
        self._link = link
        self._backend = backend
        self._models: dict[str, ServedModel] = {}
        self._wanted: set[str] = set()
        self._turns: deque[str] = deque()
        self._loads: SimpleQueue[_LoadResult] = SimpleQueue()

    def run(self) -> None:
        """Serve until the worker closes the pipe."""
        try:
            self._link.send(Started(os.getpid()))
            while True:
                for command in self._link.receive(block=not self._busy()):
                    self._apply(command)
                self._take_loads()
                self._step()
        except LinkClosed:
            _LOG.info("the worker has gone, and so goes its engine")

    def _busy(self) -> bool:
        return not self._loads.empty() or any(model.busy for model in self._models.values())

    def _step(self) -> None:
        if model := self._next_busy():
            self._link.send(model.step())

    def _next_busy(self) -> ServedModel | None:
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if (model := self._models[self._turns[-1]]).busy:
                return model
        return None

    def _apply(self, command: Command) -> None:
        match command:
            case Generate() | Embed():
                self._admit(command)
            case Cancel():
                any(model.cancel(command.id) for model in self._models.values())
            case LoadModel():
                self._begin_load(command)
            case UnloadModel():
                self._unload(command.model)

    def _admit(self, request: Generate | Embed) -> None:
        """Hand a request to its model; who asks for a model that has gone, or for what cannot be, is told."""
        model = self._models.get(request.model)
        try:
            if model is not None:
                model.admit(request)
                return
        except (TypeError, ValueError):
            _LOG.exception("%s refused a request that its worker let through", request.model)
        self._link.send(Report(request.model, 0, Load(), [Output(request.id, failure="fault")]))

    def _begin_load(self, command: LoadModel) -> None:
        """Load on a thread of its own: it takes seconds, or minutes, and running streams go on meanwhile."""
        self._wanted.add(command.model)
        Thread(target=self._load, args=(command,), name=f"load {command.model}", daemon=True).start()

    def _load(self, command: LoadModel) -> None:
        try:
            self._loads.put(self._backend.load(command))
        except Exception as error:  # noqa: BLE001 - whatever it was, the engine goes on without the model
            _LOG.exception("loading %s failed", command.model)
            sentence = (str(error).strip().splitlines() or [""])[0]
            self._loads.put(LoadFailed(command.model, f"{type(error).__name__}: {sentence[:_SENTENCE]}"))
        self._link.wake()

    def _take_loads(self) -> None:
        while not self._loads.empty():
            result = self._loads.get()
            if isinstance(result, LoadFailed):
                self._link.send(result)
                continue
            self._take(*result)

    def _take(self, model: ServedModel, loaded: Loaded) -> None:
        name = loaded.model
        if name not in self._wanted:
            return  # unloaded while it was loading
        if name not in self._models:
            self._turns.append(name)
        self._models[name] = model
        self._link.send(loaded)

    def _unload(self, name: str) -> None:
        self._wanted.discard(name)
        if self._models.pop(name, None) is not None:
            self._turns.remove(name)
        self._backend.unload()
        self._link.send(Unloaded(name))
