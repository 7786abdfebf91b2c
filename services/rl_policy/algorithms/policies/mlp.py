"""A multilayer perceptron over numpy, whose rows have the same bits alone and in any batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from services.rl_policy.algorithms.algorithm import Array, Floats


class Mlp:
    """Layers of y = x W + b, float32, with ReLU or tanh between them."""

    def __init__(self, layers: Sequence[tuple[Floats, Floats]], activation: str) -> None:
        for (first, _), (second, _) in pairwise(layers):
            if first.shape[1] != second.shape[0]:
                raise ValueError(f"layers of {first.shape} and {second.shape} do not follow each other")
        self._layers = [(np.ascontiguousarray(w, np.float32), b.astype(np.float32)) for w, b in layers]
        self._activation = activation

    @classmethod
    def of(cls, weights: Mapping[str, Array], name: str, inputs: int, activation: str) -> Mlp:
        """Return the network saved under `name`; raises KeyError or ValueError where it does not fit."""
        count = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in weights)
        layers = [(weights[f"{name}.{i}.weight"], weights[f"{name}.{i}.bias"]) for i in range(max(count, 1))]
        if layers[0][0].shape[0] != inputs:
            raise ValueError(f"{name} takes {layers[0][0].shape[0]} inputs, not {inputs}")
        return cls(layers, activation)

    @property
    def outputs(self) -> int:
        """How many numbers it gives for a row."""
        return len(self._layers[-1][1])

    def __call__(self, rows: Floats) -> Floats:
        """Return (B, outputs) for (B, inputs).

        Each row is a product of its own: one product of the batch would round differently for different B.
        """
        values = np.ascontiguousarray(rows, np.float32)[:, None, :]
        last = len(self._layers) - 1
        for index, (weight, bias) in enumerate(self._layers):
            values = np.matmul(values, weight) + bias
            if index < last:
                values = np.maximum(values, 0) if self._activation == "relu" else np.tanh(values)
        flat: Floats = values[:, 0]
        return flat

    def weights(self, name: str) -> dict[str, Array]:
        """Return what `of` makes the same network of."""
        parts = {}
        for index, (weight, bias) in enumerate(self._layers):
            parts[f"{name}.{index}.weight"] = weight
            parts[f"{name}.{index}.bias"] = bias
        return parts
