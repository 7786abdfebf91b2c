"""The runner of encoders in torch: inputs packed one after the other, no padding anywhere."""

from __future__ import annotations

import numpy as np
import torch

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.torch_attention import FullAttention
from services.inference_worker.engine.torch_device import computing
from services.inference_worker.engine.torch_program import TorchProgram


class TorchEncoder:
    """An encoder's program in torch. On a CUDA device it is untested on a GPU."""

    def __init__(self, model: TorchProgram) -> None:
        self._model = model
        self.context_length = model.program.context_length
        self.vocabulary_size = model.program.vocabulary_size
        self.dimensions = model.program.result.width
        self.memory_bytes = model.weight_bytes

    @computing()
    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        """Return the state of every token, float32 [tokens, dimensions]."""
        device = self._model.device
        positions = np.concatenate([np.arange(length) for length in lengths])
        states = self._model.run(
            torch.tensor(tokens, dtype=torch.long, device=device),
            torch.tensor(positions, dtype=torch.long, device=device),
            FullAttention(lengths, device),
        )
        floats: Floats = states.float().cpu().numpy()
        return floats
