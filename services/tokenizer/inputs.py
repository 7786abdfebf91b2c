"""What is to be encoded, and how: the domain's own form of the requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One text."""

    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that the model reads together."""

    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, oldest message first; `continue_last` leaves the last message open."""

    messages: tuple[Message, ...]
    continue_last: bool = False


Input = Text | Pair | Chat


@dataclass(frozen=True, slots=True)
class Truncation:
    """At most `max_tokens`, special tokens included; what is too much goes at the end, or `left`."""

    max_tokens: int
    left: bool = False


@dataclass(frozen=True, slots=True)
class Padding:
    """Fill to `length` (None: the longest of the call), then on to a multiple, at the end or `left`."""

    length: int | None = None
    multiple_of: int = 1
    left: bool = False


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How to encode, and what to return beside the ids."""

    add_special_tokens: bool = True
    truncation: Truncation | None = None
    padding: Padding | None = None
    offsets: bool = False
    attention_mask: bool = False
    special_tokens_mask: bool = False
    type_ids: bool = False


def texts_of(item: Input) -> list[str]:
    """Return the texts that an input carries."""
    match item:
        case Text(text):
            return [text]
        case Pair(first, second):
            return [first, second]
        case Chat(messages):
            return [message.content for message in messages]


def byte_length(text: str) -> int:
    """Return a text's length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
