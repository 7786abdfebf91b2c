"""The header of a GGUF file, read in one pass: its metadata, and which tensors it holds.

The `gguf` package maps every element of every array onto numpy, which takes two seconds for a vocabulary;
this takes a tenth of one, and reads nothing behind the header.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from services.store.sources import SourceError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# GGUF's numbers for types of fixed size, in struct's letters.
_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_NESTED = 4
_MOST_DIMENSIONS = 8
# GGUF's numbers for types of tensors: their names, how many values a block has, and its bytes.
_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2),
}  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a GGUF file: its shape as numpy has it (rows first), its type, and where its bytes are."""

    name: str
    shape: tuple[int, ...]
    type: str
    """ "F32", "Q4_1" and so on; "type 99" for one that is not known here."""
    offset: int
    """From the beginning of the file."""
    size: int
    """Bytes; 0 where the type is not known."""


def read_metadata(path: Path) -> dict[str, Any]:
    """Return all metadata of a GGUF file by name: numbers, texts, and lists of them; raises SourceError."""
    return _read(path, lambda cursor: cursor.header()[1])


def read_tensors(path: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a GGUF file by name, in its order; raises SourceError."""
    return _read(path, _Cursor.tensors)


def _read(path: Path, what: Callable[[_Cursor], T]) -> T:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return what(_Cursor(content))
    except (ValueError, KeyError, struct.error) as error:
        raise SourceError(f"{path.name} is not a GGUF file that can be read: {error}") from error


class _Cursor:
    """A place in the file, moved on by each read; a read past the end raises struct.error or ValueError."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def header(self) -> tuple[int, dict[str, Any]]:
        """Return how many tensors there are, and the metadata."""
        if self._content[:4] != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"its version is {version}, and 2 and 3 are known")
        tensors = self._number("Q")
        return tensors, {self._text(): self._value(self._number("I"), 0) for _ in range(self._number("Q"))}

    def tensors(self) -> dict[str, TensorInfo]:
        count, metadata = self.header()
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        found = [self._tensor() for _ in range(count)]
        start = -(-self._at // alignment) * alignment
        return {each.name: replace(each, offset=start + each.offset) for each in found}

    def _tensor(self) -> TensorInfo:
        name, dimensions = self._text(), self._number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"{name} has {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        number, offset = self._number("I"), self._number("Q")
        kind, values, size = _TYPES.get(number, (f"type {number}", 1, 0))
        return TensorInfo(name, shape, kind, offset, math.prod(shape) // values * size)

    def _value(self, kind: int, depth: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._list(depth + 1)
        return self._number(_FIXED[kind])

    def _list(self, depth: int) -> list[Any]:
        kind, count = self._number("I"), self._number("Q")
        if depth > _MOST_NESTED or count > len(self._content) - self._at:
            raise ValueError(f"it has a list of {count} at byte {self._at}")
        if kind in _FIXED:
            form = f"<{count}{_FIXED[kind]}"
            values = struct.unpack_from(form, self._content, self._at)
            self._at += struct.calcsize(form)
            return list(values)
        return [self._value(kind, depth) for _ in range(count)]

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _text(self) -> str:
        size = self._number("Q")
        if size > len(self._content) - self._at:
            raise ValueError(f"it has a text of {size} bytes at byte {self._at}")
        text = self._content[self._at : self._at + size]
        self._at += size
        return text.decode()
