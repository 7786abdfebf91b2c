"""Our engine without the mesh: a served model and its steps in one process, no pipe, gRPC or telemetry.

`python -m benchmarks.own_engine MODEL PRECISION` answers jobs as benchmarks/peers/programs do.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestant import Program
from benchmarks.figures import Wave
from benchmarks.peers.models import GENERATOR
from benchmarks.peers.programs import turns
from services.inference_worker import native
from services.inference_worker.converter import Converter
from services.inference_worker.devices import CPU, HostInventory
from services.inference_worker.engine.backend import ServedModel
from services.inference_worker.engine.backends import DeviceBackend
from services.inference_worker.preparation import Preparation
from services.inference_worker.settings import WorkerSettings
from services.inference_worker.wire import Embed, Generate, LoadModel, Sampling
from services.kit.settings import read
from services.store.catalogue import Catalogue
from services.store.store import Store

_NUMBERS = itertools.count(1)


class OwnEngine(Program):
    """One model in one precision, as the worker would have it loaded."""

    def __init__(self, name: str, model: str, precision: str, log: Path) -> None:
        super().__init__(name, [sys.executable, "-m", __name__, model, precision], log)

    @classmethod
    def starter(cls, precision: str) -> Callable[[str, Path], OwnEngine]:
        """Return what starts the generator in a precision."""
        return lambda label, log: cls(label, GENERATOR, precision, log)

    def wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        """As the protocol of Generator has it."""
        return Wave(self.ask(prompts=[list(each) for each in prompts], new_tokens=new_tokens))

    def encode(self, windows: Sequence[Sequence[Sequence[int]]]) -> list[float]:
        """Return the seconds that each window of token sequences takes to become vectors."""
        seconds: list[float] = self.ask(windows=[[list(ids) for ids in each] for each in windows])
        return seconds


class Work:
    """What the program does with a loaded model."""

    def __init__(self, model: ServedModel, name: str) -> None:
        self._model = model
        self._name = name

    def do(self, **job: Any) -> Any:
        """Answer one job: `prompts` and `new_tokens`, or `windows`."""
        if "prompts" in job:
            return self._generate(job["prompts"], job["new_tokens"])
        return [self._encode(each) for each in job["windows"]]

    def _generate(self, prompts: list[list[int]], new_tokens: int) -> list[list[float]]:
        began = time.perf_counter()
        sampling = Sampling(max_tokens=new_tokens, ignore_eos=True)
        arrivals: dict[int, list[float]] = {}
        for prompt in prompts:
            number = next(_NUMBERS)
            arrivals[number] = []
            self._model.admit(Generate(number, self._name, prompt, sampling, time.monotonic()))
        while self._model.busy:
            made = self._model.step()
            now = time.perf_counter() - began
            for output in made.outputs:
                arrivals[output.id] += [now] * len(output.tokens)
        return list(arrivals.values())

    def _encode(self, window: list[list[int]]) -> float:
        began = time.perf_counter()
        for ids in window:
            request = Embed(
                next(_NUMBERS),
                self._name,
                [ids],
                "mean",
                normalize=True,
                dimensions=0,
                accepted=time.monotonic(),
            )
            self._model.admit(request)
        while self._model.busy:
            self._model.step()
        return time.perf_counter() - began


async def load_command(model: str, precision: str) -> LoadModel:
    """Return what a worker tells the engine of the processor, with the model prepared as it would be."""
    settings = read(WorkerSettings)
    spec = Catalogue.read(settings.store.catalogue).get(model)
    device = next(each for each in HostInventory().observe() if each.name == CPU)
    preparation = Preparation(Store(settings.store.cache), Converter(), precision, native.find())
    fetched = await preparation.fetch(spec, _unseen)
    prepared = await preparation.prepare(fetched, device, _unseen)
    ends, limits = prepared.end_token_ids, settings.limits
    where, way = str(prepared.folder), prepared.way
    return LoadModel(model, where, spec.task.value, way.precision, ends, limits)


def _unseen(_fraction: float, _sentence: str) -> None:
    """Show nobody how far it is."""


def main(model: str, precision: str) -> None:
    """Load the model and answer jobs."""
    command = asyncio.run(load_command(model, precision))
    served, _ = DeviceBackend(CPU, 0).load(command)
    turns.serve(Work(served, model).do)


if __name__ == "__main__":
    main(*sys.argv[1:])
