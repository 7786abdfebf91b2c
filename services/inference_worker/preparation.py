"""What must be there before an engine can load a model: its files, in a form it reads, and their measure."""

from __future__ import annotations

import logging
import threading
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from services.inference_worker.footprint import Footprint, measure
from services.kit.errors import FailedPrecondition, Reason
from services.store.sources import Progress
from services.store.spec import Format, ModelSpec, Task
from services.store.store import Store

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CONVERSION = "weights-1"
"""The name of converted weights; raise its number when the conversion changes."""

Convert = Callable[[Path, Path, str], None]
"""Fills the second folder with safetensors of the dtype from the GGUF file in the first; blocks."""


@dataclass(frozen=True)
class Prepared:
    """A model whose files are ready for an engine."""

    spec: ModelSpec
    dtype: str
    folder: Path
    tokenizer_digest: str
    end_token_ids: tuple[int, ...]
    footprint: Footprint


class Preparation:
    """Fetches, converts and measures; `dtype` ("": none) goes before the catalogue's."""

    def __init__(self, store: Store, convert: Convert, dtype: str = "") -> None:
        self._store = store
        self._convert = convert
        self._dtype = dtype

    def dtype(self, spec: ModelSpec) -> str:
        """Return the type in which a model's weights will be."""
        return self._dtype or spec.dtype

    async def prepare(self, spec: ModelSpec, progress: Progress) -> Prepared:
        """Return the model's files; may take minutes. `progress` is called in the event loop.

        Raises FailedPrecondition (MODEL_SOURCE_INVALID, MODEL_LOAD_FAILED).
        """
        loop = get_running_loop()

        def told(fraction: float, sentence: str) -> None:
            loop.call_soon_threadsafe(progress, fraction, sentence)

        return await _in_thread(loop, lambda: self._prepared(spec, told), f"prepare {spec.name}")

    def _prepared(self, spec: ModelSpec, progress: Progress) -> Prepared:
        tokenizer = self._store.tokenizer(spec, progress)
        folder = self._store.fetch(spec, progress)
        dtype = self.dtype(spec)
        try:
            if spec.weights is Format.GGUF:
                folder = self._store.prepared(
                    spec, f"{CONVERSION}-{dtype}", self._conversion(dtype, progress), progress
                )
            footprint = measure(folder, dtype, generates=spec.task is Task.GENERATE)
        except (ValueError, KeyError, OSError) as error:
            _LOG.warning("the files of %s cannot be used", spec.name, exc_info=True)
            raise FailedPrecondition(
                Reason.MODEL_LOAD_FAILED,
                f"The files of {spec.name} cannot be used: {error}",
                metadata={"model": spec.name},
            ) from error
        return Prepared(spec, dtype, folder, tokenizer.digest, tokenizer.end_token_ids, footprint)

    def _conversion(self, dtype: str, progress: Progress) -> Callable[[Path, Path], None]:
        def convert(source: Path, into: Path) -> None:
            progress(0.0, f"converting the weights to {dtype}, once")
            self._convert(source, into, dtype)

        return convert


async def _in_thread(loop: AbstractEventLoop, work: Callable[[], T], name: str) -> T:
    """Return what `work` does on a thread that does not keep the process alive, as asyncio's own would."""
    done: Future[T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not done.cancelled():
            set_it()

    def run() -> None:
        try:
            settled = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            settled = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop has closed, and nobody waits
            loop.call_soon_threadsafe(settle, settled)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
