"""The levels of instructions that this processor has, for tests that run on each."""

from __future__ import annotations

from services.inference_worker.engine.native import library

_ASCENDING = ["portable", "avx2", "avx512", "amx"]


def levels() -> list[str]:
    """Return the names of this processor's levels, the plainest first."""
    if not library.available():
        return ["portable"]
    return _ASCENDING[: _ASCENDING.index(library.instruction_set()) + 1]
