"""How the native library wants weights to lie: csrc/linear_simd.cpp says the same of bfloat16 and float32."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from services.inference_worker.engine.batch import Floats

VERSION = 1
"""Of packed files: whoever changes a layout, or what an operation means, counts it up."""

BLOCK_OUTPUTS = 32
_TILE_INPUTS = 32


class Kind(IntEnum):
    """`Kind` of csrc/linear.h: how a weight is stored."""

    BFLOAT16, FLOAT32, INT8, Q4, Q8 = range(5)


def bfloat16(values: Floats) -> NDArray[np.uint16]:
    """Return the nearest bfloat16 of each number, ties to even, as the upper half of its bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def bfloat16_tiles(weight: Floats) -> NDArray[np.uint16]:
    """Return [outputs, inputs] as blocks of 32 outputs, each a row of pairs of tiles [16 pairs][16][2]."""
    padded = _padded(weight, BLOCK_OUTPUTS, _TILE_INPUTS)
    blocks, tiles = padded.shape[0] // BLOCK_OUTPUTS, padded.shape[1] // _TILE_INPUTS
    parts = bfloat16(padded).reshape(blocks, 2, 16, tiles, 16, 2)
    return np.ascontiguousarray(parts.transpose(0, 3, 1, 4, 2, 5))


def float32_blocks(weight: Floats) -> Floats:
    """Return [outputs, inputs] as blocks [inputs][32 outputs]."""
    padded = _padded(weight, BLOCK_OUTPUTS, 1)
    return np.ascontiguousarray(padded.reshape(-1, BLOCK_OUTPUTS, weight.shape[1]).transpose(0, 2, 1))


def _padded(weight: Floats, rows: int, columns: int) -> Floats:
    """Return the weight with zeros below and to the right, up to multiples."""
    missing = (-weight.shape[0] % rows, -weight.shape[1] % columns)
    return np.pad(weight, ((0, missing[0]), (0, missing[1]))) if any(missing) else weight
