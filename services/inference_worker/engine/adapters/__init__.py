"""Adapters: from a model's configuration and tensor names to its program. One module a family."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from services.inference_worker.engine.adapters import bert, llama
from services.inference_worker.engine.program import Program
from services.inference_worker.wire import Task

_FAMILIES = {
    ("generate", "llama"): llama.program,
    ("generate", "mistral"): llama.program,
    ("generate", "qwen2"): llama.program,
    ("embed", "bert"): bert.program,
    ("embed", "roberta"): bert.program,
    ("embed", "xlm-roberta"): bert.program,
}


def program(config: dict[str, Any], names: Collection[str], task: Task) -> Program | None:
    """Return the program of the model that Hugging Face's `config` describes, with tensors called `names`.

    None where no adapter knows all that the model does.
    """
    family = _FAMILIES.get((task, config.get("model_type", "")))
    return family(config, names) if family else None
