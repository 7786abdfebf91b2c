"""What a GGUF vocabulary is as a `tokenizer.json`: one builder a family of tokenizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from services.store.gguf_splits import SPLITS
from services.store.sources import SourceError

_CONTROL, _USER_DEFINED = 3, 4
_METASPACE = "\u2581"
Document = dict[str, Any]
Merges = list[tuple[str, ...]]


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer's part of a GGUF file's metadata, under names of our own.

    `tokens[i]` has the id i, `kinds[i]` its type by GGUF's numbers, `scores[i]` its SentencePiece score.
    `roles` maps bos, eos, unk and pad to a token or None. `merges` is None where the file leaves them to the
    scores.
    """

    model: str
    architecture: str
    split: str
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[tuple[str, ...], ...] | None
    roles: dict[str, str | None]
    add_bos: bool
    add_eos: bool


def tokenizer_document(vocabulary: Vocabulary) -> Document:
    """Return the content of a `tokenizer.json`; raises SourceError for a family that is not known here."""
    build = _BUILDERS.get(vocabulary.model)
    if build is None:
        known = ", ".join(sorted(_BUILDERS))
        raise SourceError(f"the GGUF file has a tokenizer of type {vocabulary.model!r}; known are {known}.")
    parts = build(vocabulary)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(vocabulary, parts["model"]["vocab"]),
        "normalizer": parts.get("normalizer"),
        "pre_tokenizer": parts.get("pre_tokenizer"),
        "post_processor": _template(vocabulary, parts["model"]["vocab"]),
        "decoder": parts["decoder"],
        "model": parts["model"],
    }


def _byte_level(vocabulary: Vocabulary) -> Document:
    """BPE over bytes, each written as a printable character (GPT-2 and most since)."""
    alphabet = byte_alphabet()
    spelled = set(alphabet.values())
    named = set(vocabulary.roles.values())
    vocab = {
        token
        if token in named or set(token) <= spelled
        else "".join(alphabet[byte] for byte in token.encode()): index
        for index, token in enumerate(vocabulary.tokens)
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pattern = SPLITS.get(vocabulary.split)
    pre_tokenizer: Document = byte_level
    if pattern is not None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}
    return {
        "model": _bpe(vocab, _merges(vocabulary), affixes=""),
        "pre_tokenizer": pre_tokenizer,
        "decoder": {**byte_level, "add_prefix_space": True},
    }


def _sentence_piece(vocabulary: Vocabulary) -> Document:
    """BPE over characters with bytes to fall back on, spaces written as U+2581 (Llama 2 and its kin)."""
    if _is_gemma(vocabulary):
        return _gemma(vocabulary)
    vocab = {token: index for index, token in enumerate(vocabulary.tokens)}
    prepend = {"type": "Metaspace", "replacement": _METASPACE, "prepend_scheme": "first", "split": False}
    parts: Document = {
        "model": _bpe(vocab, _merges(vocabulary), fuse_unk=True, byte_fallback=True),
        "pre_tokenizer": prepend,
        "decoder": _decoder({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
    }
    if vocabulary.architecture == "phi3":
        # Phi 3 prepends a space even to a text that begins with one; nothing but the architecture tells.
        steps = [{"type": "Prepend", "prepend": _METASPACE}, _spaces_replaced()]
        parts |= {"normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None}
    return parts


def _gemma(vocabulary: Vocabulary) -> Document:
    """As Llama 2, with no space in front; runs of spaces are tokens; the file's order ranks the merges."""
    tokens = tuple(
        _METASPACE * len(token) if " " in token and not token.strip() else token
        for token in vocabulary.tokens
    )
    if vocabulary.model == "gemma4":
        tokens = vocabulary.tokens
    else:
        vocabulary = replace(vocabulary, scores=tuple(float(-index) for index in range(len(tokens))))
    vocabulary = replace(vocabulary, tokens=tokens)
    vocab = {token: index for index, token in enumerate(tokens)}
    model = _bpe(vocab, _merges(vocabulary), fuse_unk=True, byte_fallback=True)
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    return {
        "model": {**model, "unk_token": "<unk>"},
        "normalizer": _spaces_replaced(),
        "pre_tokenizer": split,
        "decoder": _decoder(),
    }


def _is_gemma(vocabulary: Vocabulary) -> bool:
    return vocabulary.model == "gemma4" or vocabulary.architecture in {"gemma", "gemma2", "gemma3"}


def _bpe(
    vocab: dict[str, int],
    merges: Merges,
    *,
    affixes: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
) -> Document:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": affixes,
        "end_of_word_suffix": affixes,
        "fuse_unk": fuse_unk,
        "byte_fallback": byte_fallback,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": merges,
    }


def _spaces_replaced() -> Document:
    return {"type": "Replace", "pattern": {"String": " "}, "content": _METASPACE}


def _decoder(*last: Document) -> Document:
    steps = [{"type": "Replace", "pattern": {"String": _METASPACE}, "content": " "}, {"type": "ByteFallback"}]
    return {"type": "Sequence", "decoders": [*steps, {"type": "Fuse"}, *last]}


def _merges(vocabulary: Vocabulary) -> Merges:
    """Return the file's merges, or those that its scores imply: the best token first, cut at every place."""
    if vocabulary.merges is not None:
        return list(vocabulary.merges)
    ids = {token: index for index, token in enumerate(vocabulary.tokens)}
    ranked: list[tuple[float, str, str]] = []
    for token, score in zip(vocabulary.tokens, vocabulary.scores, strict=False):
        cuts = ((token[:at], token[at:]) for at in range(1, len(token)))
        known = [(left, right) for left, right in cuts if left in ids and right in ids]
        ranked += [(score, *cut) for cut in sorted(known, key=lambda cut: (ids[cut[0]], ids[cut[1]]))]
    ranked.sort(key=lambda each: (-each[0], -len(each[1]), -len(each[2])))
    return [(left, right) for _, left, right in ranked]


def _added_tokens(vocabulary: Vocabulary, vocab: dict[str, int]) -> list[Document]:
    """Return the tokens that a text's parts are matched with as a whole: special and user-defined ones."""
    special = {text for text in vocabulary.roles.values() if text}
    special |= _GEMMA_TOKENS if _is_gemma(vocabulary) else _FAMILY_TOKENS[vocabulary.model]
    plain = set()
    for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=False):
        if kind == _CONTROL:
            special.add(token)
        elif kind == _USER_DEFINED:
            plain.add(token)
    # A control token of a byte-level vocabulary that is not spelled in its alphabet is a mislabelled one; it
    # is not in `vocab` under its own text.
    added = sorted((vocab[token], token, token in special) for token in special | plain if token in vocab)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": token, **flags, "special": is_special} for index, token, is_special in added
    ]


def _template(vocabulary: Vocabulary, vocab: dict[str, int]) -> Document:
    """Return the post-processor that puts BOS and EOS around a text, where the file asks for them."""
    bos, eos = vocabulary.roles.get("bos"), vocabulary.roles.get("eos")
    before = bos if vocabulary.add_bos else None
    after = eos if vocabulary.add_eos else None

    def around(sequence: str, type_id: int) -> list[Document]:
        inner = [{"Sequence": {"id": sequence, "type_id": type_id}}]
        front = [{"SpecialToken": {"id": before, "type_id": type_id}}] if before else []
        back = [{"SpecialToken": {"id": after, "type_id": type_id}}] if after else []
        return [*front, *inner, *back]

    used = sorted({token for token in (before, after) if token})
    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [vocab[token]], "tokens": [token]} for token in used},
    }


@cache
def byte_alphabet() -> dict[int, str]:
    """Return GPT-2's spelling of the 256 bytes: themselves where printable in Latin-1, else U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + at) for at, byte in enumerate(others)}


_BUILDERS: dict[str, Callable[[Vocabulary], Document]] = {
    "gpt2": _byte_level,
    "llama": _sentence_piece,
    "gemma4": _gemma,
}
# Special wherever the vocabulary has them, whether the file says so or not.
_FAMILY_TOKENS = {
    "gpt2": {"<|endoftext|>"},
    "llama": {"<unk>", "<s>", "</s>"},
}
_GEMMA_TOKENS = {"<unk>", "<bos>", "<eos>", "<pad>", "<mask>"}
