"""MiniLM as a server's author writes it: transformers in bfloat16, mean of the token vectors, normalised."""

import os
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

MOST = 256


class TorchEncoder:
    """The model in `folder`, on the cores that this process has."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._model = AutoModel.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
        self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST)
        self._tokenizer.enable_padding()

    def embed(self, sentences: list[str]) -> np.ndarray:
        """Return a row of float32 for each sentence."""
        encoded = self._tokenizer.encode_batch(sentences)
        ids = torch.tensor([each.ids for each in encoded])
        mask = torch.tensor([each.attention_mask for each in encoded])
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weights = mask[..., None].float()
            pooled = (hidden * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(pooled).numpy()
