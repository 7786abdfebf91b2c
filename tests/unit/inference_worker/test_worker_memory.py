"""What a packed model is said to take is what its process then holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from services.inference_worker.engine.native import library, packing
from services.inference_worker.footprint import measure, read_header
from services.inference_worker.ways import Way

pytestmark = pytest.mark.skipif(not library.available(), reason="there is no native library here")

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY, CONTEXT = 4, 1_024, 4_096, 16, 16, 8_192, 2_048
CACHE_TOKENS = 4 * CONTEXT
HOLDS = f"""
import sys
from pathlib import Path
import psutil
import services.inference_worker.engine.__main__
from services.inference_worker.engine.batch import BLOCK_TOKENS, Part, pack
from services.inference_worker.engine.native.runner import NativeRunner

runner = NativeRunner(Path(sys.argv[1]), {CACHE_TOKENS} // BLOCK_TOKENS, 1)
for block in range(runner.blocks):  # every block of the cache is written once
    runner.step(pack([Part([1] * BLOCK_TOKENS, 0, [block], 1)]))
runner.step(pack([Part([1] * 512, 0, range(32), 1)]))
print(psutil.Process().memory_info().rss)
"""


def test_an_engine_takes_what_was_predicted(tmp_path: Path):
    folder = _llama(tmp_path / "model")
    (tmp_path / "packed").mkdir()
    assert packing.main([str(folder), str(tmp_path / "packed"), "bfloat16", "generate"]) == 0
    footprint = measure(read_header(folder), Way("bfloat16", "any"), generates=True)
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "packed")]
    holds = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert holds == pytest.approx(footprint.needed(CACHE_TOKENS), rel=0.08)


def _llama(folder: Path) -> Path:
    """Write a Llama of zeros, 300 MB with its cache, without anything that would make it slowly."""
    folder.mkdir()
    config = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        "model.embed_tokens": (VOCABULARY, HIDDEN),
        "model.norm": (HIDDEN,),
        "lm_head": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
            shapes[f"model.layers.{layer}.{name}"] = (HIDDEN, HIDDEN)
        for name in ("mlp.gate_proj", "mlp.up_proj"):
            shapes[f"model.layers.{layer}.{name}"] = (INNER, HIDDEN)
        shapes[f"model.layers.{layer}.mlp.down_proj"] = (HIDDEN, INNER)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{name}"] = (HIDDEN,)
    tensors = {f"{name}.weight": np.zeros(shape, np.float16) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder
