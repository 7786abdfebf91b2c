"""The library: which tokenizers there are, each loaded once, when it is first wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from services.kit.errors import NotFound, Reason, ResourceExhausted, TrunklineError
from services.kit.settings import SettingsError
from services.store.catalogue import Catalogue, ModelSpec
from services.store.tokenizer_files import TokenizerFormat
from services.tokenizer.model_tokenizer import ModelTokenizer

_LOGGER = logging.getLogger(__name__)
_FIRST_BACK_OFF_S = 1.0
_LONGEST_BACK_OFF_S = 60.0


class Loading(Protocol):
    """What makes tokenizers: see Loader."""

    def cached(self, spec: ModelSpec) -> bool:
        """Return whether loading needs no network."""
        ...

    async def load(self, spec: ModelSpec) -> ModelTokenizer:
        """Return the tokenizer; raises TrunklineError."""
        ...


@dataclass(frozen=True)
class Artifact:
    """A tokenizer's file, as others may have it."""

    model: str
    format: TokenizerFormat
    path: Path


@dataclass
class _Load:
    """One attempt after another at one tokenizer."""

    task: asyncio.Task[ModelTokenizer]
    failures: int = 0
    retry_at: float = 0.0
    waiting: int = 0


class Library:
    """The tokenizers of a catalogue. All methods belong to one event loop.

    A tokenizer is loaded when it is first asked for, once for all who wait; that a caller goes away does not
    end it. A failed one gives the same error to all who ask within its back-off (1 s, doubling to 60 s), then
    is tried again.
    """

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        loading: Loading,
        *,
        waiting_limit: int = 1_024,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Use the catalogue that `catalogue` returns; at most `waiting_limit` calls wait for one load."""
        self._catalogue = catalogue
        self._loading = loading
        self._waiting_limit = waiting_limit
        self._clock = clock
        # By the whole spec: an entry that is changed in the catalogue is another tokenizer.
        self._loads: dict[ModelSpec, _Load] = {}

    async def get(self, model: str) -> ModelTokenizer:
        """Return the tokenizer of the newest version of a model.

        Raises NotFound (MODEL_NOT_FOUND), FailedPrecondition (MODEL_SOURCE_INVALID), ResourceExhausted
        (QUEUE_FULL).
        """
        return await self._get(self._catalogue().get(model))

    def check(self, models: Iterable[str]) -> None:
        """Raise SettingsError for a model that the catalogue does not have."""
        for model in models:
            try:
                self._catalogue().get(model)
            except NotFound as error:
                raise SettingsError(f"TRUNKLINE_MODELS cannot be used: {error.message}") from error

    async def preload(self, models: Iterable[str]) -> None:
        """Begin to load the models and wait for those that need no network; failures are logged.

        Downloads go on behind: a slow one must not keep the tokenizers that are there from answering. A call
        that needs it waits for it. Raises NotFound for a model that the catalogue does not have.
        """
        specs = [self._catalogue().get(model) for model in models]
        here = [spec for spec in specs if self._loading.cached(spec)]
        loads = {spec: self._load(spec).task for spec in specs}
        await asyncio.gather(*(loads[spec] for spec in here), return_exceptions=True)

    async def available(self) -> list[ModelTokenizer]:
        """Return the newest version of each model whose tokenizer is here, by name. Downloads nothing."""
        catalogue = self._catalogue()
        newest = [catalogue.get(name) for name in catalogue.names()]
        found = await self._at_hand(newest)
        return sorted(found, key=lambda each: each.spec.name)

    async def artifact(self, digest: str) -> Artifact:
        """Return the artefact with this SHA-256; raises NotFound (ARTIFACT_NOT_FOUND). Downloads nothing."""
        loaded = self._loaded()
        if all(each.digest != digest for each in loaded):
            loaded = await self._at_hand(self._catalogue())
        for each in loaded:
            if each.digest == digest:
                return Artifact(each.spec.name, each.format, each.path)
        message = f"No tokenizer here has the digest {digest}."
        raise NotFound(Reason.ARTIFACT_NOT_FOUND, message, metadata={"digest": digest})

    async def close(self) -> None:
        """End the loads and close what is loaded."""
        for load in self._loads.values():
            load.task.cancel()
        await asyncio.gather(*(load.task for load in self._loads.values()), return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._loaded()))

    async def _get(self, spec: ModelSpec) -> ModelTokenizer:
        load = self._load(spec)
        if load.task.done():
            return load.task.result()
        if load.waiting >= self._waiting_limit:
            message = f"{load.waiting} calls wait for the tokenizer of {spec.name!r} to be loaded."
            metadata = {"model": spec.name, "limit": str(self._waiting_limit)}
            raise ResourceExhausted(Reason.QUEUE_FULL, message, metadata=metadata)
        load.waiting += 1
        try:
            return await asyncio.shield(load.task)
        finally:
            load.waiting -= 1

    def _load(self, spec: ModelSpec) -> _Load:
        """Return a tokenizer's load, begun if there is none, and anew if the last one's back-off is over."""
        load = self._loads.get(spec)
        if load is None:
            load = self._loads[spec] = _Load(self._begin(spec))
        elif load.failures and load.task.done() and self._clock() >= load.retry_at:
            load.task = self._begin(spec)
        return load

    def _begin(self, spec: ModelSpec) -> asyncio.Task[ModelTokenizer]:
        # A context of its own: the deadline of whoever asked first is not the load's.
        task = asyncio.create_task(self._loading.load(spec), name=f"load {spec.name}", context=Context())
        task.add_done_callback(lambda done: self._ended(spec, done))
        return task

    def _ended(self, spec: ModelSpec, task: asyncio.Task[ModelTokenizer]) -> None:
        error = None if task.cancelled() else task.exception()
        load = self._loads[spec]
        if error is None:
            load.failures = 0
            return
        load.retry_at = self._clock() + min(_FIRST_BACK_OFF_S * 2**load.failures, _LONGEST_BACK_OFF_S)
        load.failures += 1
        known = isinstance(error, TrunklineError)
        _LOGGER.error(
            "a tokenizer cannot be loaded",
            extra={"model": spec.name, "error": str(error)},
            exc_info=None if known else error,
        )

    async def _at_hand(self, specs: Iterable[ModelSpec]) -> list[ModelTokenizer]:
        """Return the tokenizers that are loaded or can be without network, leaving out those that fail."""
        wanted = [spec for spec in specs if self._is_loaded(spec) or self._loading.cached(spec)]
        found = await asyncio.gather(*(self._get(spec) for spec in wanted), return_exceptions=True)
        return [each for each in found if not isinstance(each, BaseException)]

    def _is_loaded(self, spec: ModelSpec) -> bool:
        load = self._loads.get(spec)
        return (
            load is not None and load.task.done() and not load.task.cancelled() and not load.task.exception()
        )

    def _loaded(self) -> list[ModelTokenizer]:
        return [load.task.result() for spec, load in self._loads.items() if self._is_loaded(spec)]
