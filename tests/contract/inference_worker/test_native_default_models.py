"""The default models on the native library are close to float32: what fewer bits cost is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from services.inference_worker.engine import adapters
from services.inference_worker.engine.batch import Part, pack
from services.inference_worker.engine.checkpoint import Checkpoint, open_checkpoint
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.encoder import NativeEncoder
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.native.runner import NativeRunner
from services.inference_worker.engine.program import Program
from services.inference_worker.engine.torch_models import encoder
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from services.inference_worker.wire import LoadModel, Task
from services.store.catalogue import Catalogue
from tests.e2e.prose import sentences
from tests.real_models import CHAT, EMBEDDER, store

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not library.available(), reason="no native library: no compiler"),
]

BLOCKS = 12


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute the reference on one thread: two that spin for each other crawl on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(model: str, task: Task) -> tuple[Checkpoint, Program]:
    checkpoint = open_checkpoint(store().fetch(Catalogue.read().get(model)))
    program = adapters.program(checkpoint.config, checkpoint.names(), task)
    assert program is not None
    return checkpoint, program


def test_four_bits_as_they_stand_diverge_little_from_the_same_file_in_float32(tmp_path: Path):
    checkpoint, program = opened(CHAT, "generate")
    tokenizer = Tokenizer.from_file(str(store().tokenizer(Catalogue.read().get(CHAT)).path))
    tokens = tokenizer.encode(" ".join(sentences()[:12]), add_special_tokens=False).ids[: BLOCKS * 16]
    batch = pack([Part(tokens, 0, range(BLOCKS), len(tokens))])
    pack_model(checkpoint, program, "q4", tmp_path)
    reference = TorchRunner(
        TorchProgram(checkpoint, program, torch.device("cpu"), torch.float32), BLOCKS, frozenset()
    )
    true = torch.log_softmax(torch.from_numpy(reference.step(batch).logits.copy()), -1)
    made = torch.log_softmax(
        torch.from_numpy(NativeRunner(tmp_path, BLOCKS, 2).step(batch).logits.copy()), -1
    )
    divergence = (true.exp() * (true - made)).sum(-1).mean()
    assert divergence <= 0.01


def test_embeddings_in_bfloat16_point_where_those_in_float32_do(tmp_path: Path):
    checkpoint, program = opened(EMBEDDER, "embed")
    tokenizer = Tokenizer.from_file(str(store().tokenizer(Catalogue.read().get(EMBEDDER)).path))
    tokenizer.no_padding()
    inputs = [each.ids for each in tokenizer.encode_batch(list(sentences()[:40]))]
    tokens = np.array([token for each in inputs for token in each], np.int32)
    lengths = np.array([len(each) for each in inputs], np.int32)
    pack_model(checkpoint, program, "bfloat16", tmp_path)
    folder = str(store().fetch(Catalogue.read().get(EMBEDDER)))
    reference = encoder(LoadModel(EMBEDDER, folder, "embed", "float32"), "cpu", threads=1)
    true, made = (
        means(each.encode(tokens, lengths), lengths) for each in (reference, NativeEncoder(tmp_path, 2))
    )
    assert (true * made).sum(1).min() >= 0.9999


def means(states: Any, lengths: Any) -> Any:
    """Return each input's mean state, of length 1."""
    vectors = np.add.reduceat(states.astype(np.float64), np.cumsum(lengths) - lengths)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
