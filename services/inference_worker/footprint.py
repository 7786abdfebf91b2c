"""How much memory a model will take, told from its files' headers: no torch, no loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.inference_worker.engine.checkpoint import SafetensorsCheckpoint
from services.inference_worker.ways import Way
from services.store.gguf_metadata import read_metadata, read_tensors
from services.store.gguf_tokenizer import gguf_file
from services.store.sources import SourceError

_TORCH_BYTES = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
# Of a number of a matrix: int8 has a 32-bit scale for each 64, q8 one for each 32, q4 two of 16 bits for 32.
_NATIVE_BYTES = {"bfloat16": 2.0, "int8": 1 + 4 / 64, "q8": 1 + 4 / 32, "q4": 0.5 + 4 / 32}
_FOUR_BITS = {"Q4_0", "Q4_1"}  # what of a GGUF file "q4" keeps so; everything else gets eight bits
_TABLE_BYTES = 2  # of a table of token vectors, in any of these: rows are looked up, not multiplied
_VECTOR_BYTES = 4
_NATIVE_CACHE_BYTES = 2
# What a step's activations and logits and an engine's own libraries take: torch's alone are most of it.
_WORKSPACE_BYTES = {"native": 80 << 20, "torch": 256 << 20}
_TABLES = ("embed_tokens.weight", "word_embeddings.weight", "token_embd.weight")
_HEADS = {"lm_head.weight", "output.weight"}
_GGUF = {
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "hidden_size": "embedding_length",
    "max_position_embeddings": "context_length",
}


@dataclass(frozen=True)
class Footprint:
    """A model's need of memory: weights, working space, and cache by the token."""

    weight_bytes: int
    cache_token_bytes: int
    """Keys and values of one token; 0 for an encoder."""
    context_length: int
    """The most tokens that it takes, as its configuration says; 0 where that says nothing."""
    workspace_bytes: int = _WORKSPACE_BYTES["torch"]

    def needed(self, cache_tokens: int) -> int:
        """Return the bytes that it takes with a cache of this many tokens."""
        return self.weight_bytes + self.workspace_bytes + cache_tokens * self.cache_token_bytes


@dataclass(frozen=True)
class Header:
    """What the headers of a model's files tell: shapes of tensors, and Hugging Face's configuration."""

    shapes: Mapping[str, tuple[int, ...]]
    config: Mapping[str, Any]
    types: Mapping[str, str] = field(default_factory=dict)
    """GGUF's types of tensors."""

    @property
    def tied(self) -> bool:
        """Whether a decoder's table of token vectors is its last matrix too."""
        return not any(name in _HEADS for name in self.shapes)


def read_header(folder: Path) -> Header:
    """Return the header of the safetensors or the GGUF file in `folder`.

    Raises ValueError for files that are not what they should be.
    """
    if any(folder.glob("*.safetensors")):
        checkpoint = SafetensorsCheckpoint(folder)
        shapes = {name: checkpoint.shape(name) for name in checkpoint.names()}
        return Header(shapes, checkpoint.config.get("text_config", checkpoint.config))
    if not any(folder.glob("*.gguf")):
        raise ValueError(f"there is no .safetensors file in {folder}")
    try:
        file = gguf_file(folder)
        fields, tensors = read_metadata(file), read_tensors(file)
    except SourceError as error:
        raise ValueError(str(error)) from error
    kind = fields.get("general.architecture")
    config = {ours: fields.get(f"{kind}.{theirs}") for ours, theirs in _GGUF.items()}
    types = {name: tensor.type for name, tensor in tensors.items()}
    return Header({name: tensor.shape for name, tensor in tensors.items()}, config, types)


def measure(header: Header, way: Way, *, generates: bool) -> Footprint:
    """Return the footprint of a model that is run in this way."""
    native = way.runner == "native"
    weights = _native(header, way.precision, generates=generates) if native else _torch(header, way.precision)
    element = _NATIVE_CACHE_BYTES if native else _TORCH_BYTES[way.precision]
    return Footprint(
        weight_bytes=int(weights),
        cache_token_bytes=int(_cache_elements(header.config) * element) if generates else 0,
        context_length=_first(header.config, "max_position_embeddings", "n_positions", "n_ctx"),
        workspace_bytes=_WORKSPACE_BYTES[way.runner],
    )


def _torch(header: Header, precision: str) -> float:
    return sum(map(math.prod, header.shapes.values())) * _TORCH_BYTES[precision]


def _native(header: Header, precision: str, *, generates: bool) -> float:
    """Return the bytes of a packed model.

    Its table of token vectors is one of rows, and where it is the last matrix too, it is there twice.
    """
    total = 0.0
    for name, shape in header.shapes.items():
        if len(shape) == 1:
            total += math.prod(shape) * _VECTOR_BYTES
            continue
        table = name.endswith(_TABLES)
        if not table or (generates and header.tied):
            total += math.prod(shape) * _NATIVE_BYTES[_kind(header, name, precision)]
        if table:
            total += math.prod(shape) * _TABLE_BYTES
    return total


def _kind(header: Header, name: str, precision: str) -> str:
    """Return how a matrix is packed."""
    return "q8" if precision == "q4" and header.types.get(name) not in _FOUR_BITS else precision


def _cache_elements(config: Mapping[str, Any]) -> int:
    """Return how many numbers the keys and values of one token are."""
    heads = _first(config, "num_attention_heads", "n_head")
    kept = _first(config, "num_key_value_heads") or heads
    size = _first(config, "head_dim") or _first(config, "hidden_size", "n_embd") // max(heads, 1)
    return 2 * _first(config, "num_hidden_layers", "n_layer") * kept * size


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
