"""A small SentencePiece model, trained on the spot."""

from __future__ import annotations

import io
from functools import cache

from sentencepiece import SentencePieceTrainer

WORDS = (
    "the of and to in is you that it he was for on are as with his they I at be this have from or one had by"
)


@cache
def model() -> bytes:
    """Return the bytes of a model with bytes to fall back on, BOS `<s>` and EOS `</s>`."""
    words = WORDS.split()
    lines = [" ".join(words[start:] + words[:start]) for start in range(len(words))] * 5
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
    )
    return written.getvalue()
