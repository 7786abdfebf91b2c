"""How the states of an input's tokens become one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.wire import Pooling

_SMALLEST_NORM = 1e-12  # as torch's normalize has it


@dataclass(frozen=True)
class Dense:
    """A layer behind the pooling: activation(weight · vector + bias), as sentence-transformers has it."""

    weight: Floats
    bias: Floats | None
    activation: Callable[[Floats], Floats]

    def __call__(self, vectors: Floats) -> Floats:
        """Return the layer's vectors [inputs, rows of the weight]."""
        made: Floats = vectors @ self.weight.T
        return self.activation(made if self.bias is None else made + self.bias)


def pool(states: Floats, lengths: Ints, pooling: Pooling) -> Floats:
    """Return a vector an input, [inputs, size], of its tokens' states, which lie one after the other."""
    ends = np.cumsum(lengths)
    if pooling == "last":
        return states.take(ends - 1, axis=0)
    if pooling == "cls":
        return states.take(ends - lengths, axis=0)
    means = np.empty((len(lengths), states.shape[1]), np.float32)
    start = 0
    # Faster by far than one call of add.reduceat for all.
    for mean, end in zip(means, ends.tolist(), strict=True):
        np.add.reduce(states[start:end], axis=0, out=mean)
        start = end
    means /= lengths[:, None]
    return means


def finish(vectors: Floats, dense: Sequence[Dense], dimensions: int, *, normalize: bool) -> Floats:
    """Return what is asked for: dense layers, the first `dimensions` numbers of that, scaled to length 1."""
    for layer in dense:
        vectors = layer(vectors)
    kept = vectors[:, :dimensions] if dimensions else vectors
    if not normalize:
        return kept
    norms = np.sqrt(np.einsum("ij,ij->i", kept, kept))
    scaled: Floats = kept / np.maximum(norms, _SMALLEST_NORM)[:, None]
    return scaled
