"""A model on this worker: what it is doing, and what is known of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from msgspec.structs import replace

from services.inference_worker.placement import Placement
from services.inference_worker.preparation import Prepared
from services.inference_worker.wire import Limits, Load, Loaded, LoadModel
from services.store.spec import ModelSpec


class ModelState(StrEnum):
    """What a model is doing."""

    FETCHING = "FETCHING"
    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADING = "UNLOADING"


@dataclass(eq=False)
class Model:
    """One version of one model. Owned by `Models`; others read.

    `prepared`, `placement` and `loaded` are there once the life of the model has come so far.
    """

    spec: ModelSpec
    dtype: str
    state: ModelState = ModelState.FETCHING
    progress: float = 0.0
    message: str = ""
    prepared: Prepared | None = None
    placement: Placement | None = None
    loaded: Loaded | None = None
    ready_since: datetime | None = None
    load: Load = field(default_factory=Load)
    task: asyncio.Task[None] | None = None
    """What is changing its state now."""

    @property
    def key(self) -> str:
        """Its name between the processes of this worker: a version cannot hold an @."""
        return f"{self.spec.name}@{self.spec.version}"

    @property
    def device(self) -> str:
        """The device that it is on or goes to, "" before that is known."""
        return self.placement.device if self.placement else ""

    @property
    def memory_bytes(self) -> int:
        """What it takes, or will take, on its device."""
        if self.loaded is not None:
            return self.loaded.memory_bytes
        return self.placement.needed_bytes if self.placement else 0

    def tell(self, state: ModelState, message: str = "", progress: float = 0.0) -> None:
        """Move on to a state."""
        self.state, self.message, self.progress = state, message, progress
        self.ready_since = None

    def fail(self, message: str) -> None:
        """Move on to FAILED: it is nowhere and holds nothing."""
        self.placement = self.loaded = None
        self.load = Load()
        self.tell(ModelState.FAILED, message)

    def become_ready(self, loaded: Loaded) -> None:
        """Move on to READY; its message says how it is run."""
        self.loaded = loaded
        self.load = Load(cache_tokens=loaded.cache_tokens, free_cache_tokens=loaded.cache_tokens)
        self.tell(ModelState.READY, str(self.prepared.way) if self.prepared else "", progress=1.0)
        self.ready_since = datetime.now(UTC)

    def command(self, limits: Limits) -> LoadModel:
        """Return what an engine is told to load; the model is prepared and has a place."""
        if self.prepared is None or self.placement is None:
            raise ValueError(f"{self.key} has no files or no place yet")
        return LoadModel(
            model=self.key,
            path=str(self.prepared.folder),
            task=self.spec.task.value,
            dtype=self.dtype,
            end_token_ids=self.prepared.end_token_ids,
            limits=replace(limits, cache_tokens=self.placement.cache_tokens),
        )
