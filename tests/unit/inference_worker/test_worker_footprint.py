"""A model's need of memory, told before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    runner = TransformersRunner(load(folder, "generate", dtype, "cpu"), 1_000)
    assert footprint.weight_bytes + 1_000 * footprint.cache_token_bytes == runner.memory_bytes
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
