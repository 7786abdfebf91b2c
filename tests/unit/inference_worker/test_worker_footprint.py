"""A model's need of memory, told before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.inference_worker.engine.adapters import program
from services.inference_worker.engine.batch import BLOCK_TOKENS
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.native.packing import Precision, pack_model
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import load
from services.inference_worker.footprint import Footprint, measure, read_header
from services.inference_worker.ways import Way
from services.store.catalogue import Catalogue
from tests.real_models import CHAT, store
from tests.unit.inference_worker.tiny_models import CONTEXT, bert, decoders, llama, save


def torch(folder: Path, dtype: str, *, generates: bool) -> Footprint:
    return measure(read_header(folder), Way(dtype), generates=generates)


@pytest.mark.parametrize("name", decoders())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_what_a_decoder_then_takes(name: str, dtype: str, tmp_path: Path):
    folder = save(*decoders()[name], tmp_path)
    footprint = torch(folder, dtype, generates=True)
    runner = TransformersRunner(load(folder, "generate", dtype, "cpu"), blocks=60)
    assert footprint.weight_bytes + 60 * BLOCK_TOKENS * footprint.cache_token_bytes == runner.memory_bytes
    assert footprint.context_length == CONTEXT


def test_it_is_what_an_encoder_then_takes(tmp_path: Path):
    footprint = torch(bert(tmp_path), "float32", generates=False)
    assert footprint.weight_bytes == load(tmp_path, "embed", "float32", "cpu").weight_bytes
    assert footprint.needed(5_000) == footprint.weight_bytes + footprint.workspace_bytes


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_file_that_is_none_is_refused(content: bytes, tmp_path: Path):
    folder = llama(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError):
        read_header(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        read_header(tmp_path)


def test_a_gguf_file_tells_what_it_takes_when_it_is_multiplied_out():
    header = read_header(store().fetch(Catalogue.read().get(CHAT)))
    footprint = measure(header, Way("float32"), generates=True)
    assert footprint.weight_bytes == 4 * 134_515_008
    assert footprint.cache_token_bytes == 2 * 30 * 3 * 64 * 4
    assert footprint.context_length == 8_192


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision", ["bfloat16", "int8", "q4"])
def test_it_is_what_a_packed_model_then_takes(precision: Precision, tied: bool, tmp_path: Path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=4_096, num_key_value_heads=2, tie_word_embeddings=tied, **sizes)
    folder = save(LlamaForCausalLM, config, tmp_path / "model")
    checkpoint = open_checkpoint(folder)
    decoder = program(checkpoint.config, checkpoint.names(), "generate")
    assert decoder is not None
    (tmp_path / "packed").mkdir()
    pack_model(checkpoint, decoder, precision, tmp_path / "packed")
    packed = (tmp_path / "packed" / "packed.bin").stat().st_size
    predicted = measure(read_header(folder), Way(precision, "any"), generates=True).weight_bytes
    assert packed == pytest.approx(predicted, rel=0.03)
