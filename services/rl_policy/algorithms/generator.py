"""Keeps the state of a PCG64 generator as an array, so that a checkpoint can hold it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WORD = (1 << 64) - 1


def saved(generator: np.random.Generator) -> NDArray[np.uint64]:
    """Return six words: state and increment, low word first, and what is left of a 64-bit draw."""
    state = generator.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    words = [word for number in numbers for word in (number & _WORD, number >> 64)]
    return np.asarray([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def restored(words: NDArray[np.uint64]) -> np.random.Generator:
    """Return the generator that was saved."""
    low, high, inc_low, inc_high, has, left = (int(word) for word in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has,
        "uinteger": left,
    }
    return np.random.Generator(bits)
