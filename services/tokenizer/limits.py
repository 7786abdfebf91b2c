"""What a request may ask for: the limits that the proto's comments name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from services.kit.errors import InvalidArgument, Reason, ResourceExhausted, Violation
from services.tokenizer.inputs import Chat, EncodeOptions, Input, Pair, Text, byte_length, texts_of

MAX_INPUTS = 2_048
MAX_INPUT_BYTES = 16 << 20
"""Text in one call: while it is encoded, a token takes some 150 bytes, and bytes can be tokens."""
MAX_TEXT_BYTES = 4 << 20
MAX_MESSAGES = 1_024
MAX_ROLE_BYTES = 64
MAX_PADDED_LENGTH = 1 << 20
MAX_MULTIPLE = 4_096
MAX_DECODED_IDS = 1 << 22
MAX_ANSWER_TOKENS = 1 << 24
"""Tokens in one answer: more would not fit the 64 MiB of a message, or only just."""

_MOST_VIOLATIONS = 16


def check_encode(inputs: Sequence[Input | None], options: EncodeOptions | None = None) -> Sequence[Input]:
    """Return `inputs`, all of them there; raises InvalidArgument that names each wrong field (16 at most)."""
    _refuse(_inputs(inputs))
    if options is not None:
        _refuse(_options(options))
    return [each for each in inputs if each is not None]


def check_decode(sequences: Sequence[Sequence[int]]) -> None:
    """Raise InvalidArgument for a number of sequences, or of ids in them, that is too large."""
    _refuse(_count("sequences", len(sequences), MAX_INPUTS))
    total = sum(len(each) for each in sequences)
    if total > MAX_DECODED_IDS:
        _refuse(
            [Violation("sequences", f"must hold at most {MAX_DECODED_IDS:,} ids together, not {total:,}")]
        )


def check_digest(digest: str) -> str:
    """Return `digest`; raises InvalidArgument unless it is a SHA-256 in lower-case hex."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        _refuse([Violation("digest", "must be 64 lower-case hex digits")])
    return digest


def check_answer(tokens: int) -> None:
    """Raise ResourceExhausted (MESSAGE_TOO_LARGE) when an answer would have too many tokens to be sent."""
    if tokens > MAX_ANSWER_TOKENS:
        message = (
            f"The answer would have {tokens:,} tokens, and {MAX_ANSWER_TOKENS:,} are the limit: ask for less."
        )
        metadata = {"limit_tokens": str(MAX_ANSWER_TOKENS)}
        raise ResourceExhausted(Reason.MESSAGE_TOO_LARGE, message, metadata=metadata)


def _refuse(violations: Iterable[Violation]) -> None:
    found = list(islice(violations, _MOST_VIOLATIONS))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        message = f"{found[0].field} {found[0].description}{more}"
        raise InvalidArgument(Reason.FIELD_INVALID, message, violations=found)


def _inputs(inputs: Sequence[Input | None]) -> Iterator[Violation]:
    yield from _count("inputs", len(inputs), MAX_INPUTS)
    for index, each in enumerate(inputs):
        yield from _input(f"inputs[{index}]", each)
    total = sum(byte_length(text) for each in inputs if each is not None for text in texts_of(each))
    if total > MAX_INPUT_BYTES:
        yield Violation(
            "inputs", f"must have at most {MAX_INPUT_BYTES:,} bytes of text together, not {total:,}"
        )


def _input(field: str, item: Input | None) -> Iterator[Violation]:
    match item:
        case None:
            yield Violation(field, "must have a text, a pair or a chat")
        case Text(text):
            yield from _text(f"{field}.text", text)
        case Pair(first, second):
            yield from _text(f"{field}.pair.first", first)
            yield from _text(f"{field}.pair.second", second)
        case Chat():
            yield from _chat(f"{field}.chat", item)


def _chat(field: str, chat: Chat) -> Iterator[Violation]:
    yield from _count(f"{field}.messages", len(chat.messages), MAX_MESSAGES)
    for index, message in enumerate(chat.messages):
        if not 1 <= byte_length(message.role) <= MAX_ROLE_BYTES:
            yield Violation(f"{field}.messages[{index}].role", f"must have 1 to {MAX_ROLE_BYTES} bytes")
        yield from _text(f"{field}.messages[{index}].content", message.content)


def _options(options: EncodeOptions) -> Iterator[Violation]:
    if options.truncation is not None and options.truncation.max_tokens < 1:
        yield Violation("truncation.max_tokens", "must be at least 1")
    padding = options.padding
    if padding is None:
        return
    if padding.length is not None and padding.length > MAX_PADDED_LENGTH:
        yield Violation("padding.length", f"must be at most {MAX_PADDED_LENGTH:,}, not {padding.length:,}")
    if padding.multiple_of > MAX_MULTIPLE:
        yield Violation(
            "padding.multiple_of", f"must be at most {MAX_MULTIPLE:,}, not {padding.multiple_of:,}"
        )


def _count(field: str, count: int, limit: int) -> Iterator[Violation]:
    if not 1 <= count <= limit:
        yield Violation(field, f"must have 1 to {limit:,} entries, not {count:,}")


def _text(field: str, text: str) -> Iterator[Violation]:
    size = byte_length(text)
    if size > MAX_TEXT_BYTES:
        yield Violation(field, f"must have at most {MAX_TEXT_BYTES:,} bytes, not {size:,}")
