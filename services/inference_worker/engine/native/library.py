"""The native library through ctypes: where it lies, its structures, its functions."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_float, c_int32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Self

import numpy as np

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.native import building

_MESSAGE_BYTES = 200
_INVALID = 1


class Operation(Structure):
    """`Operation` of csrc/program.h."""

    _fields_ = (
        *((name, c_int32) for name in ("code", "flags", "x", "out", "weight", "second", "third", "prepares")),
        *((name, c_int32) for name in ("activation", "offset", "layer", "heads", "kv_heads", "size")),
        ("number", c_float),
    )


class Record(Structure):
    """`Record` of csrc/program.h."""

    _fields_ = (
        *((name, c_int32) for name in ("role", "kind", "rows", "columns")),
        *((name, c_uint64) for name in ("weights", "scales", "bytes")),
    )


class Shape(Structure):
    """`Shape` of csrc/program.h."""

    _fields_ = tuple(
        (name, c_int32)
        for name in ("operations", "records", "buffers", "vocabulary", "layers", "blocks", "threads")
    )


class Batch(Structure):
    """`Batch` of csrc/program.h."""

    _fields_ = (
        ("rows", c_int32),
        *((name, c_void_p) for name in ("tokens", "sequences", "positions", "tables")),
        *((name, c_int32) for name in ("tables_count", "tables_width")),
        ("wanted", c_void_p),
        ("wanted_count", c_int32),
        ("starts", c_void_p),
        *((name, c_int32) for name in ("starts_count", "threads", "logits")),
    )


class NativeError(Exception):
    """The library did not do what it was asked; the message says why."""


@functools.cache
def _library() -> ctypes.CDLL | None:
    path = find()
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    library.trunkline_instruction_set.restype = c_char_p
    library.trunkline_memory_bytes.restype = c_uint64
    library.trunkline_memory_bytes.argtypes = (c_void_p,)
    library.trunkline_free.restype = None
    library.trunkline_free.argtypes = (c_void_p,)
    loaded = (POINTER(Operation), POINTER(Record), POINTER(c_int32), POINTER(c_void_p), c_char_p)
    library.trunkline_load.argtypes = (c_char_p, POINTER(Shape), *loaded)
    library.trunkline_fellow.argtypes = (c_void_p, POINTER(c_void_p), c_char_p)
    library.trunkline_step.argtypes = (
        *(c_void_p, POINTER(Batch), POINTER(c_void_p), POINTER(c_void_p)),
        c_char_p,
    )
    library.trunkline_encode.argtypes = (c_void_p, POINTER(Batch), c_int32, POINTER(c_void_p), c_char_p)
    return library


def find(folder: Path = building.LIBRARIES) -> Path | None:
    """Return the library that was made of the sources beside this file, or None.

    TRUNKLINE_NATIVE_LIBRARY names another one, such as one built with sanitizers.
    """
    if named := os.environ.get("TRUNKLINE_NATIVE_LIBRARY"):
        return Path(named)
    path = folder / f"libtrunkline-{building.sources_hash()}.so"
    return path if path.exists() else None


def available() -> bool:
    """Return whether there is a library for this installation."""
    return find() is not None


def instruction_set() -> str:
    """Return the best instructions that the library has for this processor: "amx", …, "portable"."""
    return str(_loaded().trunkline_instruction_set().decode())


class Model:
    """A loaded model of the library; its memory goes with it. One call at a time."""

    def __init__(self, make: Callable[[Any, Any], int]) -> None:
        """Let `make` write a model's address, or a message; it returns the library's status."""
        self._library, self._address, self._message = _loaded(), c_void_p(), (c_char * _MESSAGE_BYTES)()
        self._check(make(byref(self._address), self._message))

    @classmethod
    def load(
        cls,
        path: Path,
        shape: Shape,
        operations: ctypes.Array[Operation],
        records: ctypes.Array[Record],
        widths: ctypes.Array[c_int32],
    ) -> Self:
        """Read packed weights. Raises ValueError for a model that cannot be, or NativeError."""
        described = (str(path).encode(), byref(shape), operations, records, widths)
        return cls(lambda address, message: int(_loaded().trunkline_load(*described, address, message)))

    def fellow(self) -> Model:
        """Return the same model with one thread, for calls beside this one's.

        It shares the weights, and has no cache. Raises NativeError where there is not enough memory.
        """
        fellow = self._library.trunkline_fellow
        return Model(lambda address, message: int(fellow(self._address, address, message)))

    def __del__(self) -> None:
        if getattr(self, "_address", None):
            self._library.trunkline_free(self._address)

    @property
    def memory_bytes(self) -> int:
        """What weights, cache and buffers take; of a fellow, without the weights."""
        return int(self._library.trunkline_memory_bytes(self._address))

    def step(self, batch: Batch) -> tuple[int, int]:
        """Take a step; returns the addresses of the likeliest tokens and of the logits (0: none)."""
        likeliest, logits = c_void_p(), c_void_p()
        self._check(
            self._library.trunkline_step(
                self._address, byref(batch), byref(likeliest), byref(logits), self._message
            )
        )
        return likeliest.value or 0, logits.value or 0

    def encode(self, batch: Batch, result: int) -> int:
        """Compute the states of all rows; returns the address of the buffer numbered `result`."""
        states = c_void_p()
        self._check(
            self._library.trunkline_encode(self._address, byref(batch), result, byref(states), self._message)
        )
        return states.value or 0

    def ints(self, address: int, count: int) -> Ints:
        """Return the numbers at an address that a call gave; the model stays as long as they do."""
        return np.frombuffer(self._held(c_int32 * count, address), np.int32)

    def floats(self, address: int, rows: int, columns: int) -> Floats:
        """Return the rows at an address that a call gave; the model stays as long as they do."""
        values = np.frombuffer(self._held(c_float * (rows * columns), address), np.float32)
        return values.reshape(rows, columns)

    def _held(self, kind: Any, address: int) -> Any:
        memory = kind.from_address(address)
        memory.owner = self
        return memory

    def _check(self, status: int) -> None:
        if status == 0:
            return
        message = self._message.value.decode()
        raise ValueError(message) if status == _INVALID else NativeError(message)


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise NativeError("there is no native library for this installation")
    return library
