"""How saved weights say of which kind of policy they are."""

from __future__ import annotations

import numpy as np

from services.rl_policy.algorithms.algorithm import Array


def named(kind: str) -> Array:
    """Return the array that says `kind`: safetensors keep only arrays."""
    return np.frombuffer(kind.encode(), np.uint8)
