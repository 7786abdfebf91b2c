"""The native library as this process finds it, or that it is not there."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.layouts import VERSION

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
        return Native(library.instruction_set(), VERSION)
    except (library.NativeError, OSError) as error:
        _LOG.warning("%s (%s)", _MISSING, error)
        return None
