"""Weights as small whole numbers in groups, laid out as csrc/grouped.h says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.checkpoint import Checkpoint, QuantBlocks, matrix
from services.inference_worker.engine.native.layouts import BLOCK_OUTPUTS, Kind
from services.inference_worker.engine.program import Matrix

GROUP = {Kind.Q4: 32, Kind.Q8: 32, Kind.INT8: 64}
"""Inputs that share a scale."""

_HALF = 16  # outputs that one vector of the processor holds
_ROWS_AT_ONCE = 4096  # bounds the memory that packing takes besides the matrix itself

_Groups = NDArray[np.void]

_Q4_GROUP = np.dtype(
    [
        ("codes", "<u4", (2, 4, _HALF)),  # a number is a quad of inputs of an output
        ("scales", "<f2", (BLOCK_OUTPUTS,)),
        ("minimums", "<f2", (BLOCK_OUTPUTS,)),
    ]
)


def stored(checkpoint: Checkpoint, weight: Matrix, precision: str) -> tuple[Kind, memoryview]:
    """Return a weight's kind and bytes for the precision "q4" or "int8".

    "q4" keeps a GGUF file's blocks as they stand, of 4 bits or 8; what is no such block gets 8 bits.
    """
    if precision == "int8":
        return Kind.INT8, _bytes(quantised(matrix(checkpoint, weight), GROUP[Kind.INT8]))
    parts = [checkpoint.blocks(name) for name in weight.tensors]
    known = [part for part in parts if part is not None]
    if len(known) == len(parts) and all(part.kind != "q8_0" for part in known):
        return Kind.Q4, _bytes(q4_groups(known))
    if len(known) == len(parts) and all(part.kind == "q8_0" for part in known):
        return Kind.Q8, _bytes(q8_groups(known))
    return Kind.Q8, _bytes(quantised(matrix(checkpoint, weight), GROUP[Kind.Q8]))


def q4_groups(parts: Sequence[QuantBlocks]) -> _Groups:
    """Return matrices of Q4_0 or Q4_1 blocks, one below the other, as [blocks of outputs, groups]."""
    size = GROUP[Kind.Q4]
    codes = _blocks(np.concatenate([part.codes for part in parts]), size)
    groups = np.empty(codes.shape[:2], _Q4_GROUP)
    quads = codes.view("<u4").reshape(*codes.shape[:2], 2, _HALF, size // 4)
    pairs = quads[..., 0::2] | quads[..., 1::2] << np.uint32(4)  # as bytes: the even quad is the low half
    groups["codes"] = pairs.swapaxes(-1, -2)
    groups["scales"] = _blocks(np.concatenate([part.scales for part in parts]), 1)[..., 0]
    groups["minimums"] = _blocks(np.concatenate([_minimums(part) for part in parts]), 1)[..., 0]
    return groups


def q8_groups(parts: Sequence[QuantBlocks]) -> _Groups:
    """Return matrices of Q8_0 blocks, one below the other, as [blocks of outputs, groups]."""
    codes = np.concatenate([part.codes for part in parts])
    scales = np.concatenate([part.scales for part in parts])
    return _byte_groups(codes.astype(np.int8, copy=False), scales, GROUP[Kind.Q8])


def quantised(weight: Floats, size: int) -> _Groups:
    """Return [outputs, inputs] as 8-bit codes in groups of `size` inputs: [blocks of outputs, groups]."""
    slices = range(0, len(weight), _ROWS_AT_ONCE)
    return np.concatenate([_quantised(weight[first : first + _ROWS_AT_ONCE], size) for first in slices])


def _quantised(weight: Floats, size: int) -> _Groups:
    rows, columns = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -columns % size))).reshape(rows, -1, size)
    highest = np.abs(padded).max(axis=2)
    factors = np.divide(127, highest, out=np.zeros_like(highest), where=highest > 0)
    codes = np.rint(padded * factors[:, :, np.newaxis]).astype(np.int8)
    return _byte_groups(codes.reshape(rows, -1), highest / np.float32(127), size)


def _byte_groups(codes: NDArray[np.int8], scales: NDArray[Any], size: int) -> _Groups:
    group = np.dtype([("codes", "<u4", (2, size // 4, _HALF)), ("scales", "<f4", (BLOCK_OUTPUTS,))])
    blocks = _blocks(codes, size)
    groups = np.empty(blocks.shape[:2], group)
    quads = blocks.view("<u4").reshape(*blocks.shape[:2], 2, _HALF, size // 4)
    groups["codes"] = quads.swapaxes(-1, -2)
    groups["scales"] = _blocks(scales, 1)[..., 0]
    return groups


def _blocks(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return [outputs, groups · size] as [blocks, groups, 32 outputs, size], zeros for missing outputs."""
    padded = np.pad(values, ((0, -len(values) % BLOCK_OUTPUTS), (0, 0)))
    parts = padded.reshape(len(padded) // BLOCK_OUTPUTS, BLOCK_OUTPUTS, -1, size)
    return np.ascontiguousarray(parts.swapaxes(1, 2))


def _minimums(part: QuantBlocks) -> NDArray[np.float16]:
    """Return the weight of code 0: Q4_0 counts its codes from -8."""
    return part.minimums if part.minimums is not None else part.scales * np.float16(-8)


def _bytes(groups: _Groups) -> memoryview:
    return np.ascontiguousarray(groups).view(np.uint8).data
