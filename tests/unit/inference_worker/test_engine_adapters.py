"""Adapters: a model's program uses all of its weights, or there is none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference_worker.engine import adapters
from services.inference_worker.engine.adapters import rope
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.program import Matrix, Program, Vector
from tests.unit.inference_worker.tiny_models import bert, decoders, save

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize("name", ["llama: grouped heads", "qwen2: biases"])
def test_every_tensor_of_a_decoder_has_its_place(name: str, tmp_path: Path):
    checkpoint = open_checkpoint(save(*decoders()[name], tmp_path))
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    assert tensors(program) == set(checkpoint.names())
    assert program.causal
    assert (program.layers, program.kv_heads, program.head_size) == (2, 2, 16)


def test_every_tensor_of_an_encoder_has_its_place_but_those_of_the_pooler(tmp_path: Path):
    checkpoint = open_checkpoint(bert(tmp_path))
    program = adapters.program(checkpoint.config, checkpoint.names(), "embed")
    assert program is not None
    assert not program.causal
    assert {"pooler.dense.weight", "pooler.dense.bias"} == set(checkpoint.names()) - tensors(program)


@pytest.mark.parametrize(
    "strange",
    [
        {"model_type": "brand_new"},
        {"hidden_act": "swiglu_of_tomorrow"},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"model_type": "mistral", "sliding_window": 24},
        {"model_type": "qwen2", "sliding_window": 24, "use_sliding_window": True},
    ],
)
def test_a_decoder_that_does_something_else_has_no_program(strange: dict[str, Any]):
    assert adapters.program(LLAMA, [], "generate") is not None
    assert adapters.program(LLAMA | strange, [], "generate") is None


@pytest.mark.parametrize(
    "harmless",
    [
        {"model_type": "mistral", "sliding_window": None},
        {"model_type": "mistral", "sliding_window": 4_096},
        {"model_type": "qwen2", "sliding_window": 24, "use_sliding_window": False},
    ],
)
def test_a_window_over_the_whole_context_is_none(harmless: dict[str, Any]):
    assert adapters.program(LLAMA | harmless, [], "generate") is not None


def test_a_decoder_makes_no_vectors_and_an_encoder_no_tokens():
    assert adapters.program(LLAMA, [], "embed") is None
    assert adapters.program({"model_type": "bert"}, [], "generate") is None
    assert adapters.program({"model_type": "bert"}, ["something.else"], "embed") is None


@pytest.mark.parametrize(
    "told",
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 4.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
)
def test_angles_are_those_of_transformers(told: dict[str, Any]):
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    parameters = {"rope_theta": 500_000.0} | told
    config = LlamaConfig(
        **{**LLAMA, "hidden_size": 256, "num_attention_heads": 4, "rope_parameters": parameters}
    )
    expected = LlamaRotaryEmbedding(config).inv_freq
    ours = rope.frequencies({"rope_parameters": parameters}, 64)
    assert ours is not None
    torch.testing.assert_close(torch.tensor(ours), expected, rtol=3e-7, atol=0)


def test_factors_divide_the_angles():
    plain = rope.frequencies({"rope_theta": 10_000.0}, 4)
    scaled = rope.frequencies({"rope_scaling": {"rope_type": "factors", "factors": [1.0, 4.0]}}, 4)
    assert plain is not None
    np.testing.assert_allclose(scaled, [plain[0], plain[1] / 4])


def tensors(program: Program) -> set[str]:
    """Return the names of the tensors that a program reads."""
    values = (
        getattr(operation, field.name) for operation in program.operations for field in fields(operation)
    )
    return {name for value in values if isinstance(value, Matrix | Vector) for name in value.tensors}
