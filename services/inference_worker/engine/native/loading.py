"""Opens a packed folder as a model of the native library."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.layouts import VERSION


@dataclass(frozen=True)
class Packed:
    """What packed.json says."""

    folder: Path
    described: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.folder / "packed.bin"

    def number(self, name: str) -> int:
        """Return one of the numbers, such as "context_length"."""
        return int(self.described[name])


def read(folder: Path) -> Packed:
    """Return what the folder holds. Raises ValueError where it is of another version, or cut short."""
    packed = Packed(folder, json.loads((folder / "packed.json").read_text(encoding="utf-8")))
    if packed.described.get("version") != VERSION:
        raise ValueError(f"{folder} was packed by another version of Trunkline")
    if packed.weights.stat().st_size != packed.number("bytes"):
        raise ValueError(f"{packed.weights} is cut short")
    return packed


def load(packed: Packed, blocks: int, threads: int) -> library.Model:
    """Return the model, with a cache of so many blocks. Raises ValueError, or library.NativeError."""
    told = packed.described
    operations, records = told["operations"], told["records"]
    shape = library.Shape(
        operations=len(operations),
        records=len(records),
        buffers=len(told["buffers"]),
        vocabulary=told["vocabulary_size"],
        layers=told["layers"],
        blocks=blocks,
        threads=threads,
    )
    return library.Model.load(
        packed.weights,
        shape,
        (library.Operation * len(operations))(*(library.Operation(**each) for each in operations)),
        (library.Record * len(records))(*(library.Record(**each) for each in records)),
        (ctypes.c_int32 * len(told["buffers"]))(*told["buffers"]),
    )
