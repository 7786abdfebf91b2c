"""Loads models for torch: as a program where an adapter knows them, else as transformers has them."""

from __future__ import annotations

from pathlib import Path

import torch

from services.inference_worker.engine import adapters
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.runner import EncoderRunner, Runner
from services.inference_worker.engine.torch_encoder import TorchEncoder
from services.inference_worker.engine.torch_graphs import capture
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from services.inference_worker.wire import LoadModel

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def decoder(command: LoadModel, device: str, threads: int, blocks: int, ends: frozenset[int]) -> Runner:
    """Return the runner of a decoder with a cache of `blocks` blocks; `ends` end an answer too."""
    torch.set_num_threads(
        threads
    )  # before the first parallel operation: threads that exist keep their number
    if model := _program(command, device):
        program, its_ends = model
        return TorchRunner(program, blocks, its_ends | ends, None if device == "cpu" else capture)

    from services.inference_worker.engine.transformers_runner import TransformersRunner
    from services.inference_worker.engine.weights import load

    return TransformersRunner(load(Path(command.path), "generate", command.dtype, device), blocks, ends)


def encoder(command: LoadModel, device: str, threads: int) -> EncoderRunner:
    """Return the runner of an encoder."""
    torch.set_num_threads(threads)
    if model := _program(command, device):
        return TorchEncoder(model[0])

    from services.inference_worker.engine.transformers_encoder import TransformersEncoder
    from services.inference_worker.engine.weights import load

    return TransformersEncoder(load(Path(command.path), "embed", command.dtype, device))


def _program(command: LoadModel, device: str) -> tuple[TorchProgram, frozenset[int]] | None:
    """Return the model's program and the tokens that end its answers; None where no adapter knows it."""
    checkpoint = open_checkpoint(Path(command.path))
    program = adapters.program(checkpoint.config, checkpoint.names(), command.task)
    if program is None:
        return None
    model = TorchProgram(checkpoint, program, torch.device(device), _DTYPES[command.dtype])
    return model, checkpoint.end_token_ids
