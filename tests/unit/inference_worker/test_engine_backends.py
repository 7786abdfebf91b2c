"""Models are loaded by what can compute them, and torch only where it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from services.inference_worker.engine import adapters
from services.inference_worker.engine.backend import ServedModel
from services.inference_worker.engine.backends import DeviceBackend
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.wire import Generate, Limits, Loaded, LoadModel, Sampling, Task
from tests.unit.inference_worker.tiny_models import CONTEXT, VOCABULARY, bert, decoders, llama, prompt, save

LIMITS = Limits(cache_tokens=1_000)


def loaded(folder: Path, task: Task = "generate", **asked: Any) -> tuple[ServedModel, Loaded]:
    command = LoadModel("m", str(folder), task, "float32", limits=LIMITS, **asked)
    return DeviceBackend("cpu", threads=1).load(command)


def answer(model: ServedModel, token_ids: list[int], new_tokens: int = 6) -> tuple[list[int], str]:
    """Return what follows greedily, and why it ended."""
    model.admit(Generate(1, "m", token_ids, Sampling(max_tokens=new_tokens), accepted=0.0))
    made: list[int] = []
    reason = ""
    while model.busy:
        for output in model.step().outputs:
            made += output.tokens
            reason = output.finish.reason if output.finish else reason
    return made, reason


def test_an_engine_starts_without_torch():
    """Its import takes seconds, and a crashed engine is to be back sooner."""
    program = (
        "import sys; from services.inference_worker.engine import __main__; "
        "from services.inference_worker.engine.native import encoder, runner; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", ["llama: grouped heads", "gpt2: learned positions"])
def test_a_decoder_is_served_by_its_program_or_else_by_transformers(name: str, tmp_path: Path):
    folder = save(*decoders()[name], tmp_path)
    model, told = loaded(folder)
    whole_blocks = 1_000 // 16 * 16
    assert (told.context_length, told.vocabulary_size, told.dimensions) == (CONTEXT, VOCABULARY, 0)
    assert told.cache_tokens == whole_blocks
    assert told.memory_bytes > 0
    oracle = decoders()[name][0].from_pretrained(folder).eval()
    out = oracle.generate(torch.tensor([prompt(9)]), max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert answer(model, prompt(9)) == (out[0, 9:].tolist(), "length")


def test_an_answer_also_ends_with_the_tokens_that_the_worker_names(tmp_path: Path):
    model, _ = loaded(llama(tmp_path))
    made, _ = answer(model, prompt(9))
    model, _ = loaded(tmp_path, end_token_ids=(made[2],))
    assert answer(model, prompt(9)) == (made[:2], "stop")


@pytest.mark.skipif(not library.available(), reason="there is no native library")
def test_a_packed_decoder_is_served_by_the_native_library(tmp_path: Path):
    checkpoint = open_checkpoint(llama(tmp_path / "files"))
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    (tmp_path / "packed").mkdir()
    pack_model(checkpoint, program, "float32", tmp_path / "packed")
    model, told = loaded(tmp_path / "packed", end_token_ids=(1,))
    by_torch, _ = loaded(tmp_path / "files")
    assert (told.context_length, told.vocabulary_size) == (CONTEXT, VOCABULARY)
    assert answer(model, prompt(9)) == answer(by_torch, prompt(9))


def test_an_encoder_tells_the_size_of_its_vectors(tmp_path: Path):
    _, told = loaded(bert(tmp_path), "embed")
    assert (told.dimensions, told.context_length, told.cache_tokens) == (64, CONTEXT, 0)
    dense = tmp_path / "2_Dense"
    dense.mkdir()
    save_file({"linear.weight": torch.ones(24, 64)}, dense / "model.safetensors")
    (dense / "config.json").write_text("{}")
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "x.models.Dense", "path": "2_Dense"}]))
    _, told = loaded(tmp_path, "embed")
    assert told.dimensions == 24


def test_what_is_unloaded_gives_its_memory_back(tmp_path: Path):
    backend = DeviceBackend("cpu", threads=1)
    backend.load(LoadModel("m", str(llama(tmp_path)), "generate", "float32", limits=LIMITS))
    backend.unload()
