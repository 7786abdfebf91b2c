"""Checkpoints: what lies in a folder is read as transformers reads it, in Hugging Face's names and order."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from services.inference_worker.engine import adapters
from services.inference_worker.engine.checkpoint import (
    SafetensorsCheckpoint,
    UnreadableCheckpoint,
    matrix,
    open_checkpoint,
    vector,
)
from services.inference_worker.engine.program import Matrix, Vector
from tests.unit.inference_worker.tiny_models import CONTEXT, END, VOCABULARY, llama

_HEADS, _KV_HEADS = 4, 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_floating_type_are_read_as_float32(dtype: torch.dtype, tmp_path: Path):
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    folder = written(tmp_path, {"odd": torch.zeros(1, dtype=dtype), "a": values})
    checkpoint = open_checkpoint(folder)
    assert checkpoint.shape("a") == (3, 5)
    read = checkpoint.read("a")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.float().numpy())
    assert checkpoint.blocks("a") is None


def test_of_shards_those_in_the_index_are_read(tmp_path: Path):
    folder = written(tmp_path, {"a": torch.ones(2)}, "one.safetensors")
    written(folder, {"b": torch.zeros(2)}, "two.safetensors")
    written(folder, {"a": torch.zeros(2), "c": torch.zeros(2)}, "consolidated.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    checkpoint = open_checkpoint(folder)
    assert sorted(checkpoint.names()) == ["a", "b"]
    assert checkpoint.read("a").tolist() == [1, 1]


def test_the_tokens_that_end_an_answer_are_those_of_generation(tmp_path: Path):
    folder = written(tmp_path, {"a": torch.ones(1)}, config={"eos_token_id": 7})
    assert open_checkpoint(folder).end_token_ids == {7}
    (folder / "generation_config.json").write_text('{"eos_token_id": [8, 9]}')
    assert open_checkpoint(folder).end_token_ids == {8, 9}


def test_several_tensors_are_one_weight(tmp_path: Path):
    tensors = {"a": torch.tensor([[1.0, 2]]), "b": torch.tensor([[3.0, 4]]), "c": torch.tensor([5.0])}
    checkpoint = open_checkpoint(written(tmp_path, tensors))
    assert matrix(checkpoint, Matrix(("a", "b"), 2, 2)).tolist() == [[1, 2], [3, 4]]
    assert vector(checkpoint, Vector(("a", "c"), 3)).tolist() == [1, 2, 5]
    assert vector(checkpoint, Vector(("a",), 1)).tolist() == [1]
    with pytest.raises(UnreadableCheckpoint):
        matrix(checkpoint, Matrix(("a",), 2, 1))
    with pytest.raises(UnreadableCheckpoint):
        vector(checkpoint, Vector(("c",), 2))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 64,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a": 1}',
        struct.pack("<Q", 58) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}    ',
    ],
)
def test_a_file_that_is_none_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UnreadableCheckpoint):
        SafetensorsCheckpoint(tmp_path)


def test_a_type_without_a_meaning_here_is_refused_when_it_is_read(tmp_path: Path):
    checkpoint = open_checkpoint(written(tmp_path, {"a": torch.ones(2, dtype=torch.int64)}))
    with pytest.raises(UnreadableCheckpoint, match="I64"):
        checkpoint.read("a")


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(UnreadableCheckpoint, match="0 GGUF files"):
        open_checkpoint(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"no such thing, but long enough")
    with pytest.raises(UnreadableCheckpoint, match="GGUF file"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q4_0", "Q4_1", "Q8_0"])
def test_a_gguf_file_is_read_as_the_model_it_was_made_of(kind: str, tmp_path: Path):
    weights = load_file(llama(tmp_path / "hf") / "model.safetensors")
    checkpoint = open_checkpoint(as_gguf(tmp_path / "gguf", weights, gguf.GGMLQuantizationType[kind]))
    assert set(checkpoint.names()) == set(weights)
    for name, weight in weights.items():
        assert checkpoint.shape(name) == tuple(weight.shape)
        steps = {"Q4_0": 8, "Q4_1": 15, "Q8_0": 127}.get(kind, 1_000)
        spread = float(weight.max() - weight.min())
        assert np.abs(checkpoint.read(name) - weight.numpy()).max() <= spread / steps, name


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_multiplied_out_are_the_tensor(kind: str, tmp_path: Path):
    weights = load_file(llama(tmp_path / "hf") / "model.safetensors")
    checkpoint = open_checkpoint(as_gguf(tmp_path / "gguf", weights, gguf.GGMLQuantizationType[kind]))
    for name in (each for each in weights if weights[each].ndim == 2):
        blocks = checkpoint.blocks(name)
        assert blocks is not None
        assert blocks.kind == kind.lower()
        codes = blocks.codes.astype(np.float32) - (8 if kind == "Q4_0" else 0)
        values = codes * np.repeat(blocks.scales.astype(np.float32), 32, axis=1)
        if blocks.minimums is not None:
            values += np.repeat(blocks.minimums.astype(np.float32), 32, axis=1)
        np.testing.assert_allclose(values, checkpoint.read(name), rtol=0, atol=1e-6)
    assert checkpoint.blocks("model.norm.weight") is None


def test_a_gguf_file_tells_what_a_configuration_would(tmp_path: Path):
    weights = load_file(llama(tmp_path / "hf") / "model.safetensors")
    checkpoint = open_checkpoint(as_gguf(tmp_path / "gguf", weights, gguf.GGMLQuantizationType.F32))
    told = json.loads((tmp_path / "hf" / "config.json").read_text())
    same = ("model_type", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    assert {key: checkpoint.config[key] for key in same} == {key: told[key] for key in same}
    assert checkpoint.config["tie_word_embeddings"] is False
    assert checkpoint.end_token_ids == {END}
    program = adapters.program(checkpoint.config, checkpoint.names(), "generate")
    assert program is not None
    assert (program.context_length, program.vocabulary_size) == (CONTEXT, VOCABULARY)


def written(
    folder: Path,
    tensors: dict[str, torch.Tensor],
    name: str = "model.safetensors",
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a file of tensors beside a configuration; return the folder."""
    save_file(tensors, folder / name)
    (folder / "config.json").write_text(json.dumps(config or {}))
    return folder


def as_gguf(folder: Path, weights: dict[str, torch.Tensor], kind: gguf.GGMLQuantizationType) -> Path:
    """Write a Llama as llama.cpp's converter does; return the folder."""
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_context_length(CONTEXT)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_eos_token_id(END)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, weight in weights.items():
        values, stored = _moved(name, weight.numpy()), kind
        if values.ndim == 1:
            stored = gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(values, stored)
        writer.add_tensor(names.get_name(name, (".weight",)), data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def _moved(name: str, values: Any) -> Any:
    """Return the rows of queries and keys with the halves of each head interleaved."""
    heads = _HEADS if "q_proj" in name else _KV_HEADS if "k_proj" in name else 0
    if not heads:
        return values
    return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
