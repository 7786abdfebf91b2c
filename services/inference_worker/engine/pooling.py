"""How the vectors of a text's tokens become one vector."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from services.inference_worker.wire import Embed


def pool(states: Tensor, mask: Tensor, asked: Embed) -> Tensor:
    """Return one vector [dimensions] of the tokens' [tokens, size]; `mask` [tokens] is 1 where a token is."""
    real = states[: int(mask.sum())]
    vector = {"mean": real.mean(0), "cls": real[0], "last": real[-1]}[asked.pooling]
    kept = vector[: asked.dimensions] if asked.dimensions else vector
    return normalize(kept, dim=0) if asked.normalize else kept.clone()
