"""The runner for every encoder that transformers has and no adapter knows: its model, with padding."""

from __future__ import annotations

import numpy as np
import torch

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.torch_device import computing
from services.inference_worker.engine.weights import LoadedModel


class TransformersEncoder:
    """An encoder of transformers. On a CUDA device it is untested on a GPU."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self.context_length = loaded.context_length
        self.vocabulary_size = loaded.vocabulary_size
        self.dimensions = loaded.dimensions
        self.memory_bytes = loaded.weight_bytes

    @computing()
    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        """Return the state of every token, float32 [tokens, dimensions]."""
        real = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(real.shape, self._loaded.padding_id, np.int64)
        padded[real] = tokens
        device = self._loaded.device
        output = self._loaded.model(
            input_ids=torch.from_numpy(padded).to(device),
            attention_mask=torch.from_numpy(real.astype(np.int64)).to(device),
        )
        states: Floats = output.last_hidden_state.float().cpu().numpy()
        return states[real]
