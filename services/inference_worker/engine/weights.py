"""Loads models from folders of safetensors. Nothing else is read: no pickles, no code of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from services.inference_worker.engine.attention import NAME
from services.inference_worker.wire import Task

_LAYERS = {"full_attention", "sliding_attention"}
# Scalings whose angles follow from the longest sequence of a batch: right only below the original length.
_ROPES_BY_BATCH = {"dynamic", "longrope"}
# Their positions are counted from the padding token's id on.
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"}


class UnsupportedModel(Exception):  # noqa: N818 - a name of the domain
    """This engine cannot serve the model rightly; the message says why."""


@dataclass(frozen=True)
class LoadedModel:
    """A model of transformers on its device, and what its files say about it."""

    model: Any
    device: torch.device
    context_length: int
    vocabulary_size: int
    dimensions: int
    end_token_ids: frozenset[int]
    padding_id: int
    weight_bytes: int


def load(path: Path, task: Task, dtype: str, device: str) -> LoadedModel:
    """Return the model in the folder at `path`, with weights of `dtype`, on `device` ("cpu", "cuda:0").

    Raises UnsupportedModel, and whatever transformers raises for files that it cannot read.
    """
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]

    options: dict[str, Any] = {
        "dtype": getattr(torch, dtype),
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    if task == "embed":
        model = AutoModel.from_pretrained(path, attn_implementation="sdpa", **options)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=NAME, **options)
        _check_attention(model)
    model = model.eval().requires_grad_(False).to(device)  # noqa: FBT003 - torch's signature
    config = model.config.get_text_config()
    return LoadedModel(
        model=model,
        device=torch.device(device),
        context_length=_context_length(config),
        vocabulary_size=int(config.vocab_size),
        dimensions=int(config.hidden_size) if task == "embed" else 0,
        end_token_ids=_end_token_ids(model) if task == "generate" else frozenset(),
        padding_id=int(getattr(config, "pad_token_id", None) or 0),
        weight_bytes=sum(each.nbytes for each in model.parameters()),
    )


def _check_attention(model: Any) -> None:
    config = model.config.get_text_config()
    strange = sorted(set(getattr(config, "layer_types", None) or ()) - _LAYERS)
    if not model._supports_attention_backend:  # noqa: SLF001 - transformers has no public name for it
        raise UnsupportedModel(f"{type(model).__name__} does not let its attention be replaced")
    if strange:
        raise UnsupportedModel(
            f"{type(model).__name__} has layers of a kind not served: {', '.join(strange)}"
        )


def _context_length(config: Any) -> int:
    longest = int(config.max_position_embeddings)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in _ROPES_BY_BATCH:
        longest = int(rope.get("original_max_position_embeddings", longest))
    if config.model_type in _OFFSET_POSITIONS:
        longest -= int(config.pad_token_id) + 1
    return longest


def _end_token_ids(model: Any) -> frozenset[int]:
    """Return the tokens with which `generate` of transformers would end an answer."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
