"""A GGUF file read as the checkpoint that it was made from: Hugging Face's names and order of rows."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, dequantize

from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.checkpoint import BLOCK, QuantBlocks, UnreadableCheckpoint
from services.store.gguf_metadata import TensorInfo, read_metadata, read_tensors
from services.store.sources import SourceError

_CONFIG = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# llama.cpp turns neighbours of a head where Hugging Face turns its halves: its files have the rows moved.
_MOVED_ROWS = {"llama": re.compile(r"self_attn\.([qk])_proj")}
_ROPE_FACTORS = "rope_freqs.weight"


class GgufCheckpoint:
    """One GGUF file, mapped into memory. Other families than Llama's keep GGUF's names of tensors."""

    def __init__(self, path: Path) -> None:
        try:
            fields, tensors = read_metadata(path), read_tensors(path)
        except SourceError as error:
            raise UnreadableCheckpoint(str(error)) from error
        self._file = np.memmap(path, np.uint8, "r")
        if any(each.size == 0 or each.offset + each.size > len(self._file) for each in tensors.values()):
            raise UnreadableCheckpoint(
                f"{path.name} ends before its tensors do, or has some of unknown types"
            )
        self._tensors = {_name(each.name): each for each in tensors.values()}
        factors = self._tensors.pop(_ROPE_FACTORS, None)
        self.config = _config(
            fields,
            None if factors is None else self._values(factors),
            tied="lm_head.weight" not in self._tensors,
        )
        end = fields.get("tokenizer.ggml.eos_token_id")
        self.config["eos_token_id"] = end
        self.end_token_ids = frozenset() if end is None else frozenset([int(end)])

    def names(self) -> Collection[str]:
        """Return the names of all tensors."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, rows first."""
        return self._tensors[name].shape

    def read(self, name: str) -> Floats:
        """Return a tensor as float32, multiplied out."""
        ordered: Floats = self._in_order(name, self._values(self._tensors[name]))
        return ordered

    def blocks(self, name: str) -> QuantBlocks | None:
        """Return the blocks of a matrix of kind Q4_0, Q4_1 or Q8_0."""
        tensor = self._tensors[name]
        split = _SPLITS.get(tensor.type)
        return split(self._in_order(name, self._bytes(tensor))) if split else None

    def _bytes(self, tensor: TensorInfo) -> Any:
        """Return a tensor as it stands: [rows, bytes of a row]."""
        stored = self._file[tensor.offset : tensor.offset + tensor.size]
        return stored.reshape(*tensor.shape[:-1], -1)

    def _values(self, tensor: TensorInfo) -> Floats:
        values = dequantize(self._bytes(tensor), GGMLQuantizationType[tensor.type])
        return np.asarray(values, np.float32).reshape(tensor.shape)

    def _in_order(self, name: str, rows: Any) -> Any:
        """Return the rows of queries and keys as Hugging Face has them, whatever a row is made of."""
        found = _MOVED_ROWS.get(self.config["model_type"], _NOTHING).search(name)
        if not found:
            return rows
        heads = self.config["num_attention_heads" if found[1] == "q" else "num_key_value_heads"]
        pairs = rows.reshape(heads, len(rows) // heads // 2, 2, *rows.shape[1:])
        return pairs.swapaxes(1, 2).reshape(rows.shape)


_NOTHING = re.compile(r"(?!)")


def _name(name: str) -> str:
    """Return Hugging Face's name of a tensor, or GGUF's where it has none here."""
    match name.split("."):
        case ["blk", layer, part, kind] if part in _INNER:
            return f"model.layers.{layer}.{_INNER[part]}.{kind}"
        case [part, kind] if part in _OUTER:
            return f"{_OUTER[part]}.{kind}"
    return name


def _config(fields: dict[str, Any], factors: Floats | None, *, tied: bool) -> dict[str, Any]:
    """Return what config.json would say, as far as the file tells."""
    kind = fields.get("general.architecture")
    told = {ours: fields.get(f"{kind}.{theirs}") for theirs, ours in _CONFIG.items()}
    config = {"model_type": kind, "tie_word_embeddings": tied, "hidden_act": "silu"}
    config |= {name: value for name, value in told.items() if value is not None}
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    config.setdefault("vocab_size", len(fields.get("tokenizer.ggml.tokens") or ()))
    if config.get("sliding_window") is not None:
        config["use_sliding_window"] = True
    if factors is not None:
        config["rope_scaling"] = {"rope_type": "factors", "factors": factors.astype(float).tolist()}
    elif scaling := fields.get(f"{kind}.rope.scaling.type"):
        factor = fields.get(f"{kind}.rope.scaling.factor")
        config["rope_scaling"] = {"rope_type": scaling.replace("none", "default"), "factor": factor}
    return config


def _split_q4_0(data: Any) -> QuantBlocks:
    blocks = data.reshape(len(data), -1, 2 + BLOCK // 2)
    return QuantBlocks("q4_0", _nibbles(blocks[:, :, 2:]), _halves(blocks, 0))


def _split_q4_1(data: Any) -> QuantBlocks:
    blocks = data.reshape(len(data), -1, 4 + BLOCK // 2)
    return QuantBlocks("q4_1", _nibbles(blocks[:, :, 4:]), _halves(blocks, 0), _halves(blocks, 2))


def _split_q8_0(data: Any) -> QuantBlocks:
    blocks = data.reshape(len(data), -1, 2 + BLOCK)
    codes = np.ascontiguousarray(blocks[:, :, 2:]).view(np.int8)
    return QuantBlocks("q8_0", codes.reshape(len(data), -1), _halves(blocks, 0))


def _halves(blocks: Any, start: int) -> Any:
    """Return the float16 that begins at byte `start` of each block."""
    return np.ascontiguousarray(blocks[:, :, start : start + 2]).view("<f2")[:, :, 0]


def _nibbles(packed: Any) -> Any:
    """Return the codes of each block: the lower halves of its bytes, then the upper ones."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=2).reshape(len(packed), -1)


_SPLITS = {
    "Q4_0": _split_q4_0,
    "Q4_1": _split_q4_1,
    "Q8_0": _split_q8_0,
}
