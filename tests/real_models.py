"""The default models out of the shared cache, and what transformers makes of their tokenizers."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from services.store.catalogue import Catalogue
from services.store.store import Store
from services.store.tokenizer_files import TokenizerFiles

CHAT = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"

TEXTS = (
    "",
    " ",
    "The capital of France is Paris.",
    "  two  spaces,\ttabs\n\n\nand new lines \r\n",
    "Numbers: 3.14159, 1,000,000 and 2024-11-23T07:15:00Z; x  2024",
    "Zażółć gęślą jaźń, Grüße, naïve café — “quotes” … ½ € ™",
    "日本語のテキスト、中文文本\uff0c한국어 텍스트 and العربية with עברית",
    "👩\u200d👩\u200d👧\u200d👦 🇫🇷 🏳️\u200d🌈 e\u0301 \u200f\u202e \ufeff \u0000 \u0007",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # comment\n\nif __name__ == "__main__":\n\tf(0x1F)\n',
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|><repo_name>[CLS] a [SEP] b [MASK]",
    "I'll don't we've it's they'RE 'S 'll",
    "a" * 5_000,
    "\U0001f600" * 300,
)


def store() -> Store:
    """Return the store that the whole run, and `make demo`, share."""
    return Store(Path(os.environ.get("TRUNKLINE_CACHE", "~/.cache/trunkline")))


def tokenizer_files(model: str) -> TokenizerFiles:
    """Return a default model's tokenizer."""
    return store().tokenizer(Catalogue.read().get(model))


@cache
def reference(model: str) -> Any:
    """Return transformers' tokenizer of a default model: the one whose ids are right by definition."""
    from transformers import AutoTokenizer

    folder = store().fetch(Catalogue.read().get(model))
    files = list(folder.glob("*.gguf"))
    gguf_file = {"gguf_file": files[0].name} if files else {}
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, **gguf_file)
