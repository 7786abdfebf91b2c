"""Transitions as bytes: column by column, each in the smallest of four forms that keeps every bit.

    "TLS1", rows u32, then for each column of Transitions and for `settled`:
    form u8, dtype u8, dimensions u8, width u32, bytes u64, and the bytes, little-endian

Forms: every row; one row that all equal; bits of booleans; and sparse rows: the count of non-zero elements of
each row (u32), their columns (u32) and their values. One-hot observations of 500 states cost 12 bytes so,
instead of 2,000.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.rl_policy.algorithms.algorithm import Array, Bools, Transitions

_MAGIC = b"TLS1"
_HEAD = struct.Struct("<4sI")
_COLUMN = struct.Struct("<BBBIQ")
_DTYPES = tuple(np.dtype(each) for each in ("<f4", "<f8", "<i8", "|b1"))
_NAMES = tuple(each.name for each in fields(Transitions))
_SPARSE_WIDTH = 8
"""Rows narrower than this are not worth a look for zeros."""


class _Form(IntEnum):
    ROWS = 0
    ONE_ROW = 1
    BITS = 2
    SPARSE = 3


def encode(transitions: Transitions, settled: Bools) -> bytes:
    """Return `transitions`, and which of them have their whole reward, as one segment."""
    columns = [*(column for _, column in transitions.columns()), settled]
    return _HEAD.pack(_MAGIC, len(transitions)) + b"".join(_encode_column(each) for each in columns)


def decode(data: bytes) -> tuple[Transitions, Bools]:
    """Return what `encode` was given. Raises ValueError for anything else."""
    magic, rows = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("not a segment of transitions")
    at = _HEAD.size
    columns: list[Array] = []
    for _ in range(len(_NAMES) + 1):
        form, dtype, dimensions, width, size = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        shape = (rows,) if dimensions == 1 else (rows, width)
        columns.append(_decode_column(_Form(form), _DTYPES[dtype], shape, data[at : at + size]))
        at += size
    return Transitions(**dict(zip(_NAMES, columns[:-1], strict=True))), columns[-1]


def _encode_column(column: Array) -> bytes:
    column = np.ascontiguousarray(column)
    dtype = _DTYPES.index(column.dtype.newbyteorder("<"))
    width = column.shape[1] if column.ndim == 2 else 1
    form, data = _smallest(column)
    return _COLUMN.pack(form, dtype, column.ndim, width, len(data)) + data


def _smallest(column: Array) -> tuple[_Form, bytes]:
    if column.size == 0:
        return _Form.ROWS, b""
    raw = column.view(f"u{column.itemsize}")  # Bits, not numbers: NaN equals itself, and -0.0 is not 0.0.
    if len(column) > 1 and (raw == raw[0]).all():
        return _Form.ONE_ROW, column[0].tobytes()
    if column.dtype == np.bool_:
        return _Form.BITS, np.packbits(column).tobytes()
    if column.ndim == 2 and column.shape[1] >= _SPARSE_WIDTH:
        filled = raw != 0
        if np.count_nonzero(filled) * (4 + column.itemsize) + 4 * len(column) < column.nbytes // 2:
            return _Form.SPARSE, _encode_sparse(column, filled)
    return _Form.ROWS, column.tobytes()


def _encode_sparse(column: Array, filled: Bools) -> bytes:
    rows, columns = np.nonzero(filled)
    counts = np.bincount(rows, minlength=len(column)).astype("<u4")
    return counts.tobytes() + columns.astype("<u4").tobytes() + column[filled].tobytes()


def _decode_column(form: _Form, dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes) -> Array:
    """Return an array of its own: writable, and not held to the bytes it was read from."""
    if form is _Form.ONE_ROW:
        return np.tile(np.frombuffer(data, dtype), (shape[0], *(1 for _ in shape[1:])))
    if form is _Form.BITS:
        count = int(np.prod(shape))
        return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(np.bool_).reshape(shape)
    if form is _Form.SPARSE:
        return _decode_sparse(dtype, shape, data)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _decode_sparse(dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    counts = np.frombuffer(data, "<u4", shape[0])
    total = int(counts.sum())
    columns = np.frombuffer(data, "<u4", total, counts.nbytes)
    dense = np.zeros(shape, dtype)
    dense[np.repeat(np.arange(shape[0]), counts), columns] = np.frombuffer(
        data, dtype, total, counts.nbytes + columns.nbytes
    )
    return dense
