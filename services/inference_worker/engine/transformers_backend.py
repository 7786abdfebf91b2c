"""The backend that serves what transformers can load. On a CUDA device it is untested on a GPU."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

from services.inference_worker.engine.backend import ServedModel
from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import LoadedModel, load
from services.inference_worker.wire import Loaded, LoadModel


class TransformersBackend:
    """Loads decoders and encoders onto one device, "cpu" or "cuda"."""

    def __init__(self, device: str) -> None:
        self._device = device

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        """Return the model, ready to step."""
        loaded = load(Path(command.path), command.task, command.dtype, self._device)
        if command.task == "embed":
            return self._encoder(command, loaded)
        return self._generator(command, loaded)

    def unload(self) -> None:
        """Collect what is unreachable and give free pages back: glibc alone keeps them."""
        gc.collect()
        if self._device != "cpu":
            torch.cuda.empty_cache()
        ctypes.CDLL(None).malloc_trim(0)

    def _encoder(self, command: LoadModel, loaded: LoadedModel) -> tuple[ServedModel, Loaded]:
        memory = loaded.weight_bytes
        return Encoder(command.model, loaded, command.limits), _told(command, loaded, memory, 0)

    def _generator(self, command: LoadModel, loaded: LoadedModel) -> tuple[ServedModel, Loaded]:
        runner = TransformersRunner(loaded, command.limits.cache_tokens, frozenset(command.end_token_ids))
        told = _told(command, loaded, runner.memory_bytes, command.limits.cache_tokens)
        return Generator(command.model, runner, command.limits), told


def _told(command: LoadModel, loaded: LoadedModel, memory_bytes: int, cache_tokens: int) -> Loaded:
    return Loaded(
        model=command.model,
        context_length=min(loaded.context_length, cache_tokens or loaded.context_length),
        cache_tokens=cache_tokens,
        vocabulary_size=loaded.vocabulary_size,
        dimensions=loaded.dimensions,
        memory_bytes=memory_bytes,
    )
