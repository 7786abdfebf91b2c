"""Small GGUF files of the tokenizer families that the default models do not have."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from services.store.gguf_models import byte_alphabet

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


@dataclass(frozen=True)
class Recipe:
    """What goes into a GGUF file's tokenizer."""

    architecture: str
    model: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    split: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write `model.gguf` into `folder` and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.gguf"
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_tokenizer_model(self.model)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.split:
            writer.add_tokenizer_pre(self.split)
        for name, value in self.fields.items():
            getattr(writer, f"add_{name}")(value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def sentence_piece(architecture: str, *, bos: str = "<s>", eos: str = "</s>", **fields: Any) -> Recipe:
    """Return a vocabulary as Llama 2 has it: scores in place of merges, bytes to fall back on."""
    words = [
        "▁h",
        "he",
        "ll",
        "llo",
        "hello",
        "▁hello",
        "wo",
        "wor",
        "▁w",
        "▁wo",
        "▁wor",
        "ld",
        "▁world",
        "th",
        "▁the",
    ]
    pieces = ["▁", *string.ascii_lowercase, *"0123456789.,!", *words, "  ", "▁▁"]
    tokens = ["<unk>", bos, eos, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, "<think>", "<|user|>"]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces), USER_DEFINED, CONTROL]
    scores = [0.0] * 259 + [-float(place) for place in range(len(pieces))] + [0.0, 0.0]
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 0}
    return Recipe(architecture, "llama", tokens, kinds, scores, fields={**ids, **fields})


def byte_level(split: str, **fields: Any) -> Recipe:
    """Return a vocabulary as GPT-2 has it: bytes as letters, and merges."""
    words = ["Ġh", "he", "hel", "lo", "Ġ1", "12", "Ġ12", "ĠĠ"]
    tokens = ["<|endoftext|>", *byte_alphabet().values(), *words, "<|begin|>", "<think>"]
    kinds = [CONTROL, *[NORMAL] * (256 + len(words)), CONTROL, USER_DEFINED]
    merges = ["Ġ h", "h e", "he l", "l o", "1 2", "Ġ 1", "Ġ 12", "Ġ Ġ"]
    ids = {"bos_token_id": len(tokens) - 2, "eos_token_id": 0, "add_bos_token": True}
    return Recipe("llama", "gpt2", tokens, kinds, merges=merges, split=split, fields={**ids, **fields})
