"""Token ids to text, by the artefact of either tokenizer library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol


class ArtifactFormat(StrEnum):
    """How an artefact's bytes are to be read."""

    HF_TOKENIZER_JSON = "hf_tokenizer_json"
    SENTENCEPIECE = "sentencepiece"


class Vocabulary(Protocol):
    """What a detokeniser needs of a tokenizer."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`: special and unknown ids add nothing, half a character is U+FFFD."""
        ...


class HuggingFaceVocabulary:
    """A `tokenizer.json` of the tokenizers library."""

    def __init__(self, artifact: bytes) -> None:
        from tokenizers import Tokenizer

        self._decode: Callable[[Sequence[int]], str] = Tokenizer.from_buffer(artifact).decode

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        return self._decode(ids)


class SentencePieceVocabulary:
    """A SentencePiece model."""

    def __init__(self, artifact: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor(model_proto=artifact)
        self._size: int = self._processor.get_piece_size()

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        known = [each for each in ids if each < self._size]
        text: str = self._processor.decode(known)
        return text


def vocabulary(format: ArtifactFormat, artifact: bytes) -> Vocabulary:  # noqa: A002 - as the proto names it
    """Return the vocabulary in `artifact`; raises ValueError where the bytes are not of that format."""
    kind = HuggingFaceVocabulary if format is ArtifactFormat.HF_TOKENIZER_JSON else SentencePieceVocabulary
    try:
        return kind(artifact)
    except Exception as error:  # both libraries raise plain Exceptions and RuntimeErrors
        raise ValueError(f"the artefact is no {format}: {error}") from error
