"""Chooses what computes a model: the native library for a packed one, else torch, imported only then."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

import numpy as np

from services.inference_worker.engine.backend import ServedModel
from services.inference_worker.engine.batch import BLOCK_TOKENS
from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.heads import read_heads
from services.inference_worker.engine.runner import EncoderRunner, Runner
from services.inference_worker.wire import Loaded, LoadModel


class DeviceBackend:
    """Loads models onto one device, "cpu" or "cuda", with so many threads (0: one a core)."""

    def __init__(self, device: str, threads: int) -> None:
        self._device = device
        self._threads = threads or len(os.sched_getaffinity(0))

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        """Return the model, ready to step."""
        if command.task == "embed":
            return self._encoder(command)
        return self._generator(command)

    def unload(self) -> None:
        """Collect what is unreachable and give free pages back: glibc alone keeps them."""
        gc.collect()
        if self._device != "cpu" and (torch := sys.modules.get("torch")):
            torch.cuda.empty_cache()
        ctypes.CDLL(None).malloc_trim(0)

    def _generator(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        blocks = command.limits.cache_tokens // BLOCK_TOKENS
        runner = self._decoder_runner(command, blocks)
        return Generator(command.model, runner, command.limits), Loaded(
            model=command.model,
            context_length=runner.context_length,
            cache_tokens=blocks * BLOCK_TOKENS,
            vocabulary_size=runner.vocabulary_size,
            dimensions=0,
            memory_bytes=runner.memory_bytes,
        )

    def _encoder(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        runner = self._encoder_runner(command)
        heads = read_heads(Path(command.path))
        runner.encode(
            np.zeros(1, np.int32), np.ones(1, np.int32)
        )  # shows what the model needs that is not here
        return Encoder(command.model, runner, command.limits, heads), Loaded(
            model=command.model,
            context_length=runner.context_length,
            cache_tokens=0,
            vocabulary_size=runner.vocabulary_size,
            dimensions=heads[-1].weight.shape[0] if heads else runner.dimensions,
            memory_bytes=runner.memory_bytes,
        )

    def _decoder_runner(self, command: LoadModel, blocks: int) -> Runner:
        ends = frozenset(command.end_token_ids)
        if not _packed(command):
            from services.inference_worker.engine import torch_models

            return torch_models.decoder(command, self._device, self._threads, blocks, ends)

        from services.inference_worker.engine.native.runner import NativeRunner

        return NativeRunner(Path(command.path), blocks, self._threads, ends)

    def _encoder_runner(self, command: LoadModel) -> EncoderRunner:
        if not _packed(command):
            from services.inference_worker.engine import torch_models

            return torch_models.encoder(command, self._device, self._threads)

        from services.inference_worker.engine.native.encoder import NativeEncoder

        return NativeEncoder(Path(command.path), self._threads)


def _packed(command: LoadModel) -> bool:
    return (Path(command.path) / "packed.json").exists()
