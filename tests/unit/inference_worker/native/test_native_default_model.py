"""The default model in bfloat16 foretells what the reference does, token by token of a given text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from services.inference_worker.engine import adapters
from services.inference_worker.engine.batch import Floats, Part, pack
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.native.runner import NativeRunner
from services.inference_worker.engine.torch_program import TorchProgram
from services.inference_worker.engine.torch_runner import TorchRunner
from services.store.catalogue import Catalogue
from tests.real_models import CHAT, reference, store

pytestmark = pytest.mark.skipif(not library.available(), reason="no native library: no compiler")

BLOCKS = 16
PROSE = (
    "The lighthouse keeper had not seen another soul since the supply boat left in October. Every evening "
    "he climbed the hundred and twelve steps, trimmed the wick, and wrote three lines in the log: the "
    "weather, the ships, and, because nobody would ever check, whatever he happened to be thinking about. "
    "On the first night of the storm he wrote that the sea sounded like a crowd waiting for somebody to "
    "begin a speech. On the second night, when the glass in the north window cracked, he wrote nothing."
)


def _after_each(runner: NativeRunner | TorchRunner, tokens: list[int]) -> Floats:
    return runner.step(pack([Part(tokens, 0, range(BLOCKS), len(tokens))])).logits.copy()


@pytest.mark.soak
def test_its_distributions_diverge_from_float32_by_less_than_a_thousandth(tmp_path: Path):
    checkpoint = open_checkpoint(store().fetch(Catalogue.read().get(CHAT)))
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    tokens = reference(CHAT).encode(PROSE)
    whole = TorchProgram(checkpoint, program, torch.device("cpu"), torch.float32)
    expected = _after_each(TorchRunner(whole, BLOCKS, frozenset()), tokens)
    pack_model(checkpoint, program, "bfloat16", tmp_path)
    found = _after_each(NativeRunner(tmp_path, BLOCKS, 2), tokens)
    p, q = (torch.log_softmax(torch.tensor(each, dtype=torch.float64), -1) for each in (expected, found))
    assert float((p.exp() * (p - q)).sum(-1).mean()) <= 0.001
    sure = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 0.3
    assert np.array_equal(expected[sure].argmax(1), found[sure].argmax(1))
