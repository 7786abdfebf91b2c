"""What callers ask for and what they get, at the level of text and at the level of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Task(StrEnum):
    """What a model does."""

    GENERATE = "GENERATE"
    EMBED = "EMBED"
    UNKNOWN = "UNSPECIFIED"


class Pooling(IntEnum):
    """How the vectors of a text's tokens become one; the numbers are the contract's."""

    MODELS_OWN = 0
    MEAN = 1
    CLS = 2
    LAST = 3


class Reason(IntEnum):
    """Why an answer ended; the numbers are the contract's."""

    STOP = 1
    LENGTH = 2


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, oldest first, for the model's chat template; `continue_last` leaves the last one open."""

    messages: tuple[Message, ...]
    continue_last: bool = False


Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """A Generate request; None is unset. `source` is a text, token ids or a conversation."""

    model: str
    source: str | tuple[int, ...] | Conversation | None
    version: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    tenant: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """An Embed request; None is unset. One of `texts` and `token_ids` holds something."""

    model: str
    texts: tuple[str, ...] = ()
    token_ids: tuple[tuple[int, ...], ...] = ()
    version: str | None = None
    pooling: int = Pooling.MODELS_OWN
    normalize: bool | None = None
    dimensions: int | None = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class RerankCall:
    """A Rerank request; None is unset."""

    model: str
    query: str
    documents: tuple[str, ...]
    version: str | None = None
    max_results: int | None = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen, every default resolved; the fields are SamplingParams' and mean the same."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class TokenCall:
    """What a worker is asked to make."""

    model: str
    version: str
    token_ids: Ids
    sampling: Sampling
    tenant: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class VectorCall:
    """What a worker is asked to embed."""

    model: str
    version: str
    inputs: Sequence[Ids]
    pooling: int
    normalize: bool | None
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: of the prompt (or of all texts), made, and of the prompt those that came from a cache."""

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """Tokens that a worker made. `logprobs` are passed on as they came: one a token, or none at all."""

    ids: Ids
    logprobs: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class TokenFinish:
    """The end of a worker's stream. `timings` are passed on as they came."""

    reason: int
    usage: Usage
    timings: Any = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of an answer."""

    text: str
    ids: Ids = ()
    logprobs: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class TextFinish:
    """The end of an answer; `timings` is None where a stop string ended it before the worker did."""

    reason: int
    usage: Usage
    version: str
    stop: str | None = None
    timings: Any = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents by their indices, nearest first, each with its score."""

    results: Sequence[tuple[int, float]]
    usage: Usage
    version: str


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors one after the other: little-endian 32-bit floats, inputs x `dimensions` of them."""

    values: bytes
    dimensions: int
    usage: Usage
    version: str = field(default="")
