"""The protocol behind which engines plug in: `load`, `unload`, and a model's `admit`, `step`, `cancel`."""

from __future__ import annotations

from typing import Protocol

from services.inference_worker.wire import Embed, Generate, Loaded, LoadModel, Report


class ServedModel(Protocol):
    """A loaded model. All calls come from one thread; only `step` takes long."""

    @property
    def busy(self) -> bool:
        """True while a step would do or tell something."""

    def admit(self, request: Generate | Embed) -> None:
        """Queue a request, which the worker has checked against the model."""

    def cancel(self, request_id: int) -> bool:
        """Forget a request: the next step is without it. Return whether it was here."""

    def step(self) -> Report:
        """Do one step for everybody who has a place, and tell what came of it."""


class Backend(Protocol):
    """What loads models onto this process's device."""

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        """Return the model, ready to step. Called on a thread of its own; an error says why not."""

    def unload(self) -> None:
        """Give memory that is no longer used back to the system. Called after a model was dropped."""
