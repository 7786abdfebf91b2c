"""How much memory a model will take, told from its files' headers: no torch, no loading."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ELEMENT_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
_WORKSPACE_BYTES = 256 << 20  # what a step's activations and logits and an engine's own libraries take
_HEADER_LIMIT_BYTES = 100 << 20  # as the safetensors library has it


@dataclass(frozen=True)
class Footprint:
    """A model's need of memory: weights, working space, and cache by the token."""

    weight_bytes: int
    cache_token_bytes: int
    """Keys and values of one token; 0 for an encoder."""
    context_length: int
    """The most tokens that it takes, as its configuration says; 0 where that says nothing."""
    workspace_bytes: int = _WORKSPACE_BYTES

    def needed(self, cache_tokens: int) -> int:
        """Return the bytes that it takes with a cache of this many tokens."""
        return self.weight_bytes + self.workspace_bytes + cache_tokens * self.cache_token_bytes


def measure(folder: Path, dtype: str, *, generates: bool) -> Footprint:
    """Return the footprint of the safetensors in `folder`, loaded as `dtype`.

    Raises ValueError for files that are not what they should be.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"there is no .safetensors file in {folder}")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    element = _ELEMENT_BYTES[dtype]
    return Footprint(
        weight_bytes=sum(map(_elements, files)) * element,
        cache_token_bytes=_cache_elements(config) * element if generates else 0,
        context_length=_first(config, "max_position_embeddings", "n_positions", "n_ctx"),
    )


def _elements(path: Path) -> int:
    """Return how many numbers a safetensors file holds; it begins with a length and a JSON header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if not 0 < length <= _HEADER_LIMIT_BYTES:
            raise ValueError(f"{path.name} is no safetensors file")
        header = file.read(length)
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
        return sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the header of {path.name} is not that of a safetensors file") from error


def _cache_elements(config: dict[str, Any]) -> int:
    """Return how many numbers the keys and values of one token are."""
    heads = _first(config, "num_attention_heads", "n_head")
    kept = _first(config, "num_key_value_heads") or heads
    size = _first(config, "head_dim") or _first(config, "hidden_size", "n_embd") // max(heads, 1)
    return 2 * _first(config, "num_hidden_layers", "n_layer") * kept * size


def _first(config: dict[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
