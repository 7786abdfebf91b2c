"""Tokenizers for tests: the two real default ones, and small ones of the kinds that these are not."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from gateway.front.vocabulary import ArtifactFormat, Vocabulary, vocabulary
from services.store.catalogue import Catalogue
from services.store.store import Store

CORPUS = [
    "The capital of France is Paris, and the capital of Norway is Oslo.",
    "Il était une fois une île où l'été durait toute l'année.",
    "Grüße aus Köln: schöne, größere Häuser überall!",
    "def greet(name):\n    return f'Hello, {name}'",
] * 5


@dataclass(frozen=True)
class Sample:
    """A tokenizer: how it reads, how it writes, and how many ids it has."""

    vocabulary: Vocabulary
    encode: Callable[[str], list[int]]
    size: int
    special: int
    """An id that has no text."""


@cache
def real(model: str) -> Sample:
    """Return the tokenizer of a default model, from the shared cache."""
    root = Path(os.environ.get("TRUNKLINE_CACHE", "~/.cache/trunkline"))
    files = Store(root).tokenizer(Catalogue.read().get(model))
    tokenizer = Tokenizer.from_file(str(files.path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = next(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    return _hugging_face(tokenizer, special)


@cache
def byte_fallback() -> Sample:
    """Return a tokenizer as Llama's: words begin with a mark, what has no token is spelt in bytes."""
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({letter for line in CORPUS for letter in line if letter.isascii() and letter.isalpha()})
    pieces += ["▁", *letters, *(f"▁{letter}" for letter in letters), "\n"]
    merges = [("▁", letter) for letter in letters]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    return _hugging_face(tokenizer, special=1)


@cache
def sentence_piece() -> Sample:
    """Return a SentencePiece model with byte fallback."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.98,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    return Sample(
        vocabulary(ArtifactFormat.SENTENCEPIECE, written.getvalue()),
        processor.encode,
        processor.get_piece_size(),
        special=processor.bos_id(),
    )


def _hugging_face(tokenizer: Tokenizer, special: int) -> Sample:
    return Sample(
        vocabulary(ArtifactFormat.HF_TOKENIZER_JSON, tokenizer.to_str().encode()),
        lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
        tokenizer.get_vocab_size(),
        special,
    )
