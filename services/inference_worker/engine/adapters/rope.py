"""The angles by which queries and keys are turned, with the scalings for contexts longer than trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from services.inference_worker.engine.batch import Floats


def frequencies(config: dict[str, Any], size: int) -> tuple[float, ...] | None:
    """Return the size / 2 angles of position 1 for heads of `size`; None for a scaling not known here.

    Known are none at all, "linear" (Chen et al., 2023), "llama3" (Llama 3.1's), and "factors", a divisor for
    each angle, as GGUF files have it.
    """
    told = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(told.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    # Rounded where transformers rounds: its angles, and so its tokens, at far positions are then ours.
    exponents: Floats = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    powers = np.array([theta ** float(exponent) for exponent in exponents], np.float32)
    angles: Floats = np.reciprocal(powers)
    match told.get("rope_type", told.get("type", "default")):
        case "default":
            scaled = angles
        case "linear":
            scaled = angles / np.float32(told["factor"])
        case "llama3":
            scaled = _llama3(angles, told)
        case "factors":
            scaled = np.divide(angles, np.array(told["factors"]), dtype=np.float32)
        case _:
            return None
    return tuple(float(angle) for angle in scaled)


def _llama3(angles: Floats, told: dict[str, Any]) -> Floats:
    """Return short waves as they are, long ones `factor` times as long, and in between a mixture."""
    original, factor = float(told["original_max_position_embeddings"]), float(told["factor"])
    low, high = float(told["low_freq_factor"]), float(told["high_freq_factor"])
    waves = 2 * math.pi / angles
    smooth = np.clip((original / waves - low) / (high - low), 0.0, 1.0)
    mixed: Floats = ((1 - smooth) * angles / factor + smooth * angles).astype(np.float32)
    return mixed
