"""A model's files as they lie in a folder: its configuration and its tensors, mapped. No torch."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.program import Matrix, Vector

BLOCK = 32
"""Numbers of a row that share a scale in GGUF's simple kinds."""

_HEADER_LIMIT_BYTES = 100 << 20  # as the safetensors library has it
_LENGTH = struct.Struct("<Q")
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_BF16 = "BF16"


@dataclass(frozen=True)
class QuantBlocks:
    """A matrix as a GGUF file holds it: a few bits a number, a scale for each 32 of a row.

    A number is scale · code + minimum for "q4_1", scale · (code - 8) for "q4_0", scale · code for "q8_0".
    `codes` is [rows, columns]: uint8 from 0 to 15, or int8 for "q8_0". `scales` and `minimums` are float16
    [rows, columns / 32]; only "q4_1" has minimums.
    """

    kind: Literal["q4_0", "q4_1", "q8_0"]
    codes: NDArray[np.uint8] | NDArray[np.int8]
    scales: NDArray[np.float16]
    minimums: NDArray[np.float16] | None = None


class Checkpoint(Protocol):
    """A model's configuration and weights. Tensors have Hugging Face's names, rows and columns."""

    @property
    def config(self) -> dict[str, Any]:
        """Hugging Face's config.json; for GGUF what such a file would say."""

    @property
    def end_token_ids(self) -> frozenset[int]:
        """The tokens with which the files say that an answer ends."""

    def names(self) -> Collection[str]:
        """Return the names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; raises KeyError for a name that is not there."""

    def read(self, name: str) -> Floats:
        """Return a tensor as float32, multiplied out where it is quantised; it may be read-only."""

    def blocks(self, name: str) -> QuantBlocks | None:
        """Return a matrix's blocks as they stand, or None where it is not of a kind that is known."""


class UnreadableCheckpoint(ValueError):  # noqa: N818 - a name of the domain
    """The files are not what they should be; the message says how."""


def open_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in `folder`: safetensors, or else one GGUF file. Raises UnreadableCheckpoint."""
    if (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
        return SafetensorsCheckpoint(folder)
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UnreadableCheckpoint(
            f"{folder} holds no safetensors and {len(files)} GGUF files instead of one"
        )

    from services.inference_worker.engine.gguf_checkpoint import GgufCheckpoint

    return GgufCheckpoint(files[0])


def matrix(checkpoint: Checkpoint, told: Matrix) -> Floats:
    """Return a program's matrix, [rows, columns]. Raises UnreadableCheckpoint for another shape."""
    parts = [checkpoint.read(name) for name in told.tensors]
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if whole.shape != (told.rows, told.columns):
        raise UnreadableCheckpoint(f"{told.tensors} have shape {whole.shape}, not {told.rows, told.columns}")
    return whole


def vector(checkpoint: Checkpoint, told: Vector) -> Floats:
    """Return a program's vector, [size]. Raises UnreadableCheckpoint where there are too few numbers."""
    whole = np.concatenate([checkpoint.read(name).ravel() for name in told.tensors])[: told.size]
    if whole.shape != (told.size,):
        raise UnreadableCheckpoint(f"{told.tensors} have {whole.size} numbers, not {told.size}")
    return whole


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies: in a mapped file, from byte `start` on."""

    file: np.memmap[Any, Any]
    dtype: str
    shape: tuple[int, ...]
    start: int


class SafetensorsCheckpoint:
    """Files of safetensors beside a config.json, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = _json(folder / "config.json")
        generation = folder / "generation_config.json"
        told = _json(generation) if generation.exists() else self.config
        self.end_token_ids = _ids(told.get("eos_token_id"))
        self._tensors: dict[str, _Stored] = {}
        for file in _files(folder):
            self._tensors |= _stored(file)

    def names(self) -> Collection[str]:
        """Return the names of all tensors."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._tensors[name].shape

    def read(self, name: str) -> Floats:
        """Return a tensor as float32; one that is stored so is not copied."""
        tensor = self._tensors[name]
        kind = "<u2" if tensor.dtype == _BF16 else _PLAIN.get(tensor.dtype)
        if kind is None:
            raise UnreadableCheckpoint(f"{name} is of type {tensor.dtype}")
        end = tensor.start + math.prod(tensor.shape) * np.dtype(kind).itemsize
        values = tensor.file[tensor.start : end].view(kind).reshape(tensor.shape)
        if tensor.dtype == _BF16:  # the upper half of a float32
            return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.asarray(values).astype(np.float32, copy=False)

    def blocks(self, name: str) -> QuantBlocks | None:  # noqa: ARG002 - the protocol's
        """Return None: these files hold whole numbers of bytes a weight."""
        return None


def _files(folder: Path) -> list[Path]:
    """Return the files of the model alone: beside them may lie the same weights in another layout."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return [folder / name for name in sorted(set(_json(index)["weight_map"].values()))]
    single = folder / "model.safetensors"
    return [single] if single.exists() else sorted(folder.glob("*.safetensors"))


def _stored(path: Path) -> dict[str, _Stored]:
    """Return the tensors of a file: it begins with a length and a JSON header."""
    if path.stat().st_size <= _LENGTH.size:
        raise UnreadableCheckpoint(f"{path.name} is no safetensors file")
    file = np.memmap(path, np.uint8, "r")
    (length,) = _LENGTH.unpack(file[: _LENGTH.size].tobytes())
    if not 0 < length <= min(_HEADER_LIMIT_BYTES, len(file) - _LENGTH.size):
        raise UnreadableCheckpoint(f"{path.name} is no safetensors file")
    data = _LENGTH.size + length
    try:
        header = json.loads(file[_LENGTH.size : data].tobytes())
        header.pop("__metadata__", None)
        found = {
            name: _Stored(file, told["dtype"], tuple(told["shape"]), data + told["data_offsets"][0])
            for name, told in header.items()
        }
        cut = any(data + told["data_offsets"][1] > len(file) for told in header.values())
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableCheckpoint(f"the header of {path.name} is not that of a safetensors file") from error
    if cut:
        raise UnreadableCheckpoint(f"{path.name} ends before its tensors do")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UnreadableCheckpoint(f"{path.name} is not JSON") from error


def _ids(told: Any) -> frozenset[int]:
    return frozenset(told if isinstance(told, list) else [] if told is None else [told])
