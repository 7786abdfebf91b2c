"""The native library as this process finds it, or that it is not there."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_LOG = logging.getLogger(__name__)

_MISSING = (
    "The native library is not there: models on the processor are run by torch, several times slower. "
    "Install a C++ compiler (g++ or clang++), then install Trunkline again."
)


@dataclass(frozen=True)
class Native:
    """With which instructions the library computes ("amx"), and the version of the files that it maps."""

    instructions: str
    version: int


def find() -> Native | None:
    """Return the library's description; None where it is not there, which is said in the log."""
    try:
        from services.inference_worker.engine.native import library
        from services.inference_worker.engine.native.packing import VERSION
    except ImportError:
        found = None
    else:
        found = Native(library.instruction_set(), VERSION) if library.available() else None
    if found is None:
        _LOG.warning(_MISSING)
    return found
