"""Weights lie as the kernels read them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.native import layouts


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_bfloat16_is_rounded_as_torch_rounds_it(values: list[float]):
    numbers = np.array(values, np.float32)
    expected = torch.from_numpy(numbers).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(layouts.bfloat16(numbers), expected)


def test_a_tile_holds_pairs_of_inputs_of_sixteen_outputs():
    weight = np.arange(70 * 40, dtype=np.float32).reshape(70, 40)
    tiles = layouts.bfloat16_tiles(weight)
    assert tiles.shape == (3, 2, 2, 16, 16, 2)
    output, place = 53, 37
    found = tiles[output // 32, place // 32, output % 32 // 16, place % 32 // 2, output % 16, place % 2]
    assert found == layouts.bfloat16(weight[output, place])
    assert not tiles[2, :, 0, :, 6:].any()
    assert not tiles[:, 1, :, 4:].any()


def test_blocks_of_float32_hold_thirty_two_outputs_of_an_input():
    weight = np.arange(70 * 5, dtype=np.float32).reshape(70, 5)
    blocks = layouts.float32_blocks(weight)
    assert blocks.shape == (3, 5, 32)
    assert blocks[1, 3, 20] == weight[52, 3]
    assert not blocks[2, :, 6:].any()
