"""What must be there before an engine can load a model: its files, in a form it reads, and their measure."""

from __future__ import annotations

import logging
import threading
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from services.inference_worker.converter import Grown, NotAdapted
from services.inference_worker.devices import Device
from services.inference_worker.engine.adapters import program
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.footprint import Footprint, Header, measure, read_header
from services.inference_worker.native import Native
from services.inference_worker.ways import Way, choose
from services.kit.errors import FailedPrecondition, Reason
from services.store.sources import Progress
from services.store.spec import Format, ModelSpec, Task
from services.store.store import Store

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CONVERSION = "weights-1"
"""The name of converted weights; raise its number when the conversion changes."""


class Work(Protocol):
    """What makes weights, as `Converter` does; both block their thread."""

    def convert(self, source: Path, into: Path, dtype: str, grown: Grown) -> None:
        """Fill a folder with safetensors of a GGUF file."""

    def pack(self, source: Path, into: Path, precision: str, task: str, grown: Grown) -> None:
        """Fill a folder with what the native runner maps; raises NotAdapted."""


@dataclass(frozen=True)
class Fetched:
    """A model whose files are here, as their makers left them."""

    spec: ModelSpec
    folder: Path
    header: Header
    tokenizer_digest: str
    end_token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """A model whose files are ready for an engine."""

    folder: Path
    way: Way
    tokenizer_digest: str
    end_token_ids: tuple[int, ...]
    footprint: Footprint


class Preparation:
    """Fetches, measures, and packs or converts. `dtype` ("": none) goes before the catalogue's.

    `native` is None where models on the processor are torch's.
    """

    def __init__(self, store: Store, work: Work, dtype: str = "", native: Native | None = None) -> None:
        self._store = store
        self._work = work
        self._dtype = dtype
        self._native = native

    def dtype(self, spec: ModelSpec) -> str:
        """Return the precision that is asked for; "auto" leaves it to the device."""
        return self._dtype or spec.dtype

    def way(self, spec: ModelSpec, device: Device, *, adapted: bool = True) -> Way:
        """Return how a model is run on a device; whether an adapter knows it may turn out later."""
        instructions = self._native.instructions if self._native else ""
        return choose(self.dtype(spec), spec.task, device, instructions, adapted=adapted)

    def footprint(self, fetched: Fetched, device: Device) -> Footprint:
        """Return what a model would take on a device."""
        generates = fetched.spec.task is Task.GENERATE
        return measure(fetched.header, self.way(fetched.spec, device), generates=generates)

    async def fetch(self, spec: ModelSpec, progress: Progress) -> Fetched:
        """Return the model's files; may take minutes. `progress` is called in the event loop.

        Raises FailedPrecondition (MODEL_SOURCE_INVALID, MODEL_LOAD_FAILED).
        """
        return await _in_thread(lambda told: self._fetched(spec, told), progress, f"fetch {spec.name}")

    async def prepare(self, fetched: Fetched, device: Device, progress: Progress) -> Prepared:
        """Return the model in a form that the device's engine reads; may take minutes the first time.

        Raises FailedPrecondition (MODEL_LOAD_FAILED).
        """
        name = f"prepare {fetched.spec.name}"
        return await _in_thread(lambda told: self._prepared(fetched, device, told), progress, name)

    def _fetched(self, spec: ModelSpec, progress: Progress) -> Fetched:
        tokenizer = self._store.tokenizer(spec, progress)
        folder = self._store.fetch(spec, progress)
        with _refusing(spec):
            return Fetched(spec, folder, read_header(folder), tokenizer.digest, tokenizer.end_token_ids)

    def _prepared(self, fetched: Fetched, device: Device, progress: Progress) -> Prepared:
        spec, folder = fetched.spec, fetched.folder
        way = self.way(spec, device)
        with _refusing(spec):
            if way.runner == "native":
                try:
                    folder = self._packed(fetched, way, progress)
                except NotAdapted:
                    way = self.way(spec, device, adapted=False)
                    _LOG.info("%s is none of the native runner's architectures: %s", spec.name, way)
            if way.runner == "torch" and spec.weights is Format.GGUF and not _adapted(folder, spec.task):
                folder = self._converted(fetched, way, progress)
        footprint = measure(fetched.header, way, generates=spec.task is Task.GENERATE)
        if way.runner == "native":
            footprint = replace(footprint, weight_bytes=_size(folder))
        return Prepared(folder, way, fetched.tokenizer_digest, fetched.end_token_ids, footprint)

    def _packed(self, fetched: Fetched, way: Way, progress: Progress) -> Path:
        spec, version = fetched.spec, self._native.version if self._native else 0
        grown = _growth(fetched, way, progress, f"packing the weights as {way.precision}, once")
        return self._store.prepared(
            spec,
            f"packed-{version}-{way.precision}",
            lambda source, into: self._work.pack(source, into, way.precision, spec.task.value, grown),
            progress,
        )

    def _converted(self, fetched: Fetched, way: Way, progress: Progress) -> Path:
        grown = _growth(fetched, way, progress, f"converting the weights to {way.precision}, once")
        return self._store.prepared(
            fetched.spec,
            f"{CONVERSION}-{way.precision}",
            lambda source, into: self._work.convert(source, into, way.precision, grown),
            progress,
        )


def _adapted(folder: Path, task: Task) -> bool:
    """Return whether an adapter knows the model, so that engines read its files as they are."""
    checkpoint = open_checkpoint(folder)
    return program(checkpoint.config, checkpoint.names(), task.value) is not None


def _growth(fetched: Fetched, way: Way, progress: Progress, sentence: str) -> Grown:
    """Return what tells `progress` how much of the weights is there."""
    expected = max(1, measure(fetched.header, way, generates=False).weight_bytes)
    return lambda size: progress(min(size / expected, 0.99), sentence)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@contextmanager
def _refusing(spec: ModelSpec) -> Iterator[None]:
    """Turn what is wrong with a model's files into the refusal that callers see."""
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        _LOG.warning("the files of %s cannot be used", spec.name, exc_info=True)
        raise FailedPrecondition(
            Reason.MODEL_LOAD_FAILED,
            f"The files of {spec.name} cannot be used: {error}",
            metadata={"model": spec.name},
        ) from error


async def _in_thread(work: Callable[[Progress], T], progress: Progress, name: str) -> T:
    """Return what `work` does on a thread that does not keep the process alive, as asyncio's own would."""
    loop = get_running_loop()

    def told(fraction: float, sentence: str) -> None:
        with suppress(RuntimeError):  # the loop has closed, and nobody listens
            loop.call_soon_threadsafe(progress, fraction, sentence)

    return await _settled(loop, lambda: work(told), name)


async def _settled(loop: AbstractEventLoop, work: Callable[[], T], name: str) -> T:
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
