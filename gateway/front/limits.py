"""The limits of every field of a request: checked before anything is done, and all told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice

from gateway.front.calls import Conversation, EmbedCall, GenerateCall, Ids, Pooling, RerankCall
from services.kit.errors import InvalidArgument, Reason, Violation
from services.kit.names import NAME, is_name

MAX_PROMPT_BYTES = 4 << 20
MAX_TEXT_BYTES = 1 << 20
MAX_INPUTS = 2_048
MAX_DOCUMENTS = 1_024
MAX_TENANT_BYTES = 64
MAX_PRIORITY = 100
MAX_MESSAGES = 1_024
MAX_ROLE_BYTES = 64
MAX_STOPS = 16
MAX_STOP_BYTES = 256
MAX_STOP_TOKENS = 64
MAX_LOGPROBS = 20
# A status travels in a trailer, and trailers of more than 8 KiB are refused on the way.
MAX_VIOLATIONS = 16
_POOLINGS = frozenset(Pooling)


class _Faults:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def add(self, field: str, description: str) -> None:
        self._found.append(Violation(field, description))

    def unless(self, right: bool, field: str, description: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not right:
            self.add(field, description)

    def number(
        self, field: str, value: float | None, low: float, high: float, *, above: bool = False
    ) -> None:
        """Unset is right; NaN compares false with everything, and so is wrong."""
        if value is not None and not ((low < value if above else low <= value) and value <= high):
            word = "above" if above else "from"
            self.add(field, f"must be {word} {low:g} to {high:g}, not {value}")

    def names(self, model: str, version: str | None) -> None:
        self.unless(is_name(model), "model", f"must match {NAME}")
        self.unless(
            version is None or is_name(version), "model_version", f"must match {NAME} where it is set"
        )

    def raise_found(self) -> None:
        if self._found:
            raise InvalidArgument(
                Reason.FIELD_INVALID,
                "; ".join(f"{each.field} {each.description}" for each in self._found[:3]),
                violations=self._found[:MAX_VIOLATIONS],
            )


def check_generate(call: GenerateCall) -> None:
    """Raise InvalidArgument FIELD_INVALID with a violation for each field that is wrong by itself."""
    faults = _Faults()
    faults.names(call.model, call.version)
    _check_source(faults, call.source)
    _check_stops(faults, call)
    faults.number("max_tokens", call.max_tokens, 1, 2**32 - 1)
    faults.number("temperature", call.temperature, 0, 100)
    faults.number("top_p", call.top_p, 0, 1, above=True)
    faults.number("min_p", call.min_p, 0, 1)
    faults.number("repetition_penalty", call.repetition_penalty, 0, 100, above=True)
    faults.number("presence_penalty", call.presence_penalty, -100, 100)
    faults.number("frequency_penalty", call.frequency_penalty, -100, 100)
    faults.number("logprobs", call.logprobs, 0, MAX_LOGPROBS)
    faults.number("priority", call.priority, -MAX_PRIORITY, MAX_PRIORITY)
    faults.unless(
        not _longer(call.tenant, MAX_TENANT_BYTES), "tenant", f"must be at most {MAX_TENANT_BYTES} bytes"
    )
    faults.raise_found()


def check_embed(call: EmbedCall) -> None:
    """Raise InvalidArgument FIELD_INVALID with a violation for each field that is wrong by itself."""
    faults = _Faults()
    faults.names(call.model, call.version)
    faults.unless(
        bool(call.texts) != bool(call.token_ids), "texts", "or token_ids must be given, and not both"
    )
    for field, inputs in (("texts", call.texts), ("token_ids", call.token_ids)):
        if len(inputs) > MAX_INPUTS:
            faults.add(field, f"must be 1 to {MAX_INPUTS}, not {len(inputs)}")
    for index, text in enumerate(call.texts[:MAX_INPUTS]):
        if _longer(text, MAX_TEXT_BYTES):
            faults.add(f"texts[{index}]", f"must be at most {MAX_TEXT_BYTES} bytes")
    for index, ids in enumerate(call.token_ids[:MAX_INPUTS]):
        if not ids:
            faults.add(f"token_ids[{index}].ids", "must not be empty")
    faults.unless(call.pooling in _POOLINGS, "pooling", "must be a value of the enum Pooling")
    faults.number("dimensions", call.dimensions, 1, 2**32 - 1)
    faults.raise_found()


def check_rerank(call: RerankCall) -> None:
    """Raise InvalidArgument FIELD_INVALID with a violation for each field that is wrong by itself."""
    faults = _Faults()
    faults.names(call.model, call.version)
    right = bool(call.query) and not _longer(call.query, MAX_TEXT_BYTES)
    faults.unless(right, "query", f"must be 1 to {MAX_TEXT_BYTES} bytes")
    count = len(call.documents)
    faults.unless(1 <= count <= MAX_DOCUMENTS, "documents", f"must be 1 to {MAX_DOCUMENTS}, not {count}")
    for index, text in enumerate(call.documents[:MAX_DOCUMENTS]):
        if _longer(text, MAX_TEXT_BYTES):
            faults.add(f"documents[{index}]", f"must be at most {MAX_TEXT_BYTES} bytes")
    faults.number("max_results", call.max_results, 1, 2**32 - 1)
    faults.raise_found()


def check_dimensions(dimensions: int | None, of_model: int) -> None:
    """Raise InvalidArgument where `dimensions` is more than the model's vectors have."""
    faults = _Faults()
    faults.number("dimensions", dimensions, 1, of_model)
    faults.raise_found()


def check_ids(field: str, ids: Ids, vocabulary_size: int) -> None:
    """Raise InvalidArgument with a violation for every one of `ids` that the model does not have."""
    if not vocabulary_size or not ids or max(ids) < vocabulary_size:
        return
    faults = _Faults()
    wrong = (index for index, each in enumerate(ids) if each >= vocabulary_size)
    for index in islice(wrong, MAX_VIOLATIONS):
        faults.unless(
            right=False,
            field=f"{field}[{index}]",
            description=f"must be below {vocabulary_size}, not {ids[index]}",
        )
    faults.raise_found()


def renamed(error: InvalidArgument, fields: Sequence[str]) -> InvalidArgument:
    """Return `error` with the tokenizer's `inputs[i]` named as the caller knows it: `fields[i]`.

    `inputs[0].text` is just the field; `inputs[0].chat.messages[2]` keeps what follows `chat`.
    """
    return _renamed(error, r"\binputs\[(\d+)\](\.text|\.chat)?", lambda index: _name(fields, index))


def fields_renamed(error: InvalidArgument, name: Callable[[int], str]) -> InvalidArgument:
    """Return `error` with Embed's `texts[i]` named `name(i)`."""
    return _renamed(error, r"\btexts\[(\d+)\]", name)


def _renamed(error: InvalidArgument, pattern: str, name: Callable[[int], str]) -> InvalidArgument:
    def new(text: str) -> str:
        return re.sub(pattern, lambda found: name(int(found[1])), text)

    return InvalidArgument(
        error.reason,
        new(error.message),
        metadata=error.metadata,
        violations=[Violation(new(each.field), each.description) for each in error.violations],
    )


def _name(fields: Sequence[str], index: int) -> str:
    return fields[index] if index < len(fields) else f"inputs[{index}]"


def _check_source(faults: _Faults, source: str | tuple[int, ...] | Conversation | None) -> None:
    match source:
        case str():
            faults.unless(bool(source), "prompt", "must not be empty")
            faults.unless(
                not _longer(source, MAX_PROMPT_BYTES), "prompt", f"must be at most {MAX_PROMPT_BYTES} bytes"
            )
        case Conversation():
            _check_chat(faults, source)
        case tuple():
            faults.unless(bool(source), "token_ids.ids", "must not be empty")
        case None:
            faults.unless(right=False, field="input", description="must be one of prompt, token_ids and chat")


def _check_chat(faults: _Faults, chat: Conversation) -> None:
    count = len(chat.messages)
    faults.unless(1 <= count <= MAX_MESSAGES, "chat.messages", f"must be 1 to {MAX_MESSAGES}, not {count}")
    for index, message in enumerate(chat.messages[:MAX_MESSAGES]):
        field = f"chat.messages[{index}]"
        faults.unless(
            bool(message.role) and not _longer(message.role, MAX_ROLE_BYTES),
            f"{field}.role",
            f"must be 1 to {MAX_ROLE_BYTES} bytes",
        )
        faults.unless(
            not _longer(message.content, MAX_PROMPT_BYTES),
            f"{field}.content",
            f"must be at most {MAX_PROMPT_BYTES} bytes",
        )


def _check_stops(faults: _Faults, call: GenerateCall) -> None:
    stops, tokens = len(call.stop), len(call.stop_token_ids)
    faults.unless(stops <= MAX_STOPS, "stop", f"must be at most {MAX_STOPS}, not {stops}")
    faults.unless(
        tokens <= MAX_STOP_TOKENS, "stop_token_ids", f"must be at most {MAX_STOP_TOKENS}, not {tokens}"
    )
    for index, stop in enumerate(call.stop[:MAX_STOPS]):
        right = bool(stop) and not _longer(stop, MAX_STOP_BYTES)
        faults.unless(right, f"stop[{index}]", f"must be 1 to {MAX_STOP_BYTES} bytes")


def _longer(text: str, limit: int) -> bool:
    """Tell whether `text` has more than `limit` bytes of UTF-8, without encoding what is surely within."""
    return len(text) * 4 > limit and len(text.encode()) > limit
