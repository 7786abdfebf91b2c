"""The dense layers that sentence-transformers keeps beside an encoder, behind its pooling."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.checkpoint import SafetensorsCheckpoint, UnreadableCheckpoint
from services.inference_worker.engine.pooling import Dense

_MODULES = "modules.json"
_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
}


def read_heads(folder: Path) -> tuple[Dense, ...]:
    """Return the dense layers of the encoder in `folder`, none for most. Raises UnreadableCheckpoint."""
    return tuple(_read(folder / path) for path in _paths(folder))


def copy_heads(source: Path, into: Path) -> None:
    """Copy the dense layers, where there are any, from a model's folder into another."""
    paths = _paths(source)
    if paths:
        into.mkdir(exist_ok=True)
        shutil.copyfile(source / _MODULES, into / _MODULES)
    for path in paths:
        shutil.copytree(source / path, into / path)


def _paths(folder: Path) -> list[str]:
    if not (folder / _MODULES).exists():
        return []
    modules = json.loads((folder / _MODULES).read_text(encoding="utf-8"))
    paths = [str(each["path"]) for each in modules if each["type"].endswith(".Dense")]
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in paths):
        raise UnreadableCheckpoint(f"{_MODULES} names a folder outside of the model's")
    return paths


def _read(folder: Path) -> Dense:
    files = SafetensorsCheckpoint(folder)
    name = str(files.config.get("activation_function") or "Identity").rsplit(".", maxsplit=1)[-1]
    if name not in _ACTIVATIONS:
        raise UnreadableCheckpoint(f"the dense layer in {folder.name} has the activation {name}")
    bias: Any = files.read("linear.bias") if "linear.bias" in files.names() else None
    return Dense(files.read("linear.weight"), bias, _ACTIVATIONS[name])
