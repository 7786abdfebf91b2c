"""What the engine loads, and what it refuses to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.inference_worker.engine.weights import UnsupportedModel, load
from tests.unit.inference_worker.tiny_models import CONTEXT, END, VOCABULARY, bert, llama, save


def test_a_decoder_is_described_by_its_files(tmp_path: Path):
    loaded = load(llama(tmp_path), "generate", "bfloat16", "cpu")
    assert (loaded.context_length, loaded.vocabulary_size) == (CONTEXT, VOCABULARY)
    assert loaded.end_token_ids == {END}
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}


def test_an_encoder_tells_the_size_of_its_vectors(tmp_path: Path):
    loaded = load(bert(tmp_path), "embed", "float32", "cpu")
    assert (loaded.dimensions, loaded.context_length, loaded.end_token_ids) == (64, CONTEXT, frozenset())


def test_a_model_whose_attention_cannot_be_replaced_is_refused(tmp_path: Path):
    from transformers import BloomConfig, BloomForCausalLM

    folder = save(BloomForCausalLM, BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2), tmp_path)
    with pytest.raises(UnsupportedModel, match="BloomForCausalLM"):
        load(folder, "generate", "float32", "cpu")


def test_pickled_weights_are_not_read(tmp_path: Path):
    folder = llama(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load(folder, "generate", "float32", "cpu")
