"""What callers ask of a model, checked against what it can do before an engine sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.inference_worker.wire import Loaded, Pooling, Sampling
from services.kit.errors import InvalidArgument, Reason, Violation

MAX_INPUTS: Final = 2_048
MAX_STOP_TOKENS: Final = 64
MAX_LOGPROBS: Final = 20
MAX_TENANT_BYTES: Final = 64
MAX_PRIORITY: Final = 100
_PENALTY: Final = 100.0
_SHOWN_VIOLATIONS: Final = 16


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to go on from. `deadline` is a time of CLOCK_MONOTONIC, None for none."""

    model: str
    version: str
    token_ids: list[int]
    sampling: Sampling | None
    deadline: float | None = None
    tenant: str = ""
    priority: int = 0

    def check(self, loaded: Loaded) -> Sampling:
        """Return the sampling; raises InvalidArgument (FIELD_INVALID, CONTEXT_LENGTH_EXCEEDED)."""
        if self.sampling is None:
            raise _refusal([Violation("sampling", "must be set")])
        violations = [
            *_sampling_violations(self.sampling),
            *_token_violations("token_ids", self.token_ids, loaded),
            *_standing_violations(self.tenant, self.priority),
        ]
        if violations:
            raise _refusal(violations)
        _check_length("token_ids", len(self.token_ids), loaded.context_length - 1, loaded)
        return self.sampling


@dataclass(frozen=True)
class EmbeddingRequest:
    """Inputs to make vectors of; None leaves a choice to the model, `dimensions` 0 keeps all."""

    model: str
    version: str
    inputs: list[list[int]]
    pooling: Pooling | None
    normalize: bool | None
    dimensions: int | None
    deadline: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens in all inputs."""
        return sum(map(len, self.inputs))

    def check(self, loaded: Loaded) -> None:
        """Raise InvalidArgument (FIELD_INVALID, CONTEXT_LENGTH_EXCEEDED) unless the model can do this."""
        violations = []
        if not 1 <= len(self.inputs) <= MAX_INPUTS:
            violations.append(
                Violation("inputs", f"must be from 1 to {MAX_INPUTS:,}, not {len(self.inputs):,}")
            )
        if self.dimensions is not None and not 1 <= self.dimensions <= loaded.dimensions:
            description = f"must be from 1 to {loaded.dimensions}, not {self.dimensions}"
            violations.append(Violation("dimensions", description))
        for index, tokens in enumerate(self.inputs[:MAX_INPUTS]):
            violations += _token_violations(f"inputs[{index}].ids", tokens, loaded)
        if violations:
            raise _refusal(violations)
        for index, tokens in enumerate(self.inputs):
            _check_length(f"inputs[{index}].ids", len(tokens), loaded.context_length, loaded)


def _refusal(violations: Sequence[Violation]) -> InvalidArgument:
    first = violations[0]
    return InvalidArgument(
        Reason.FIELD_INVALID, f"{first.field} {first.description}", violations=violations[:_SHOWN_VIOLATIONS]
    )


def _sampling_violations(sampling: Sampling) -> Iterator[Violation]:
    yield from _outside("max_tokens", sampling.max_tokens, 1, 2**32 - 1)
    yield from _outside("temperature", sampling.temperature, 0, 100)
    yield from _outside("top_p", sampling.top_p, 0, 1, above=True)
    yield from _outside("min_p", sampling.min_p, 0, 1)
    yield from _outside("repetition_penalty", sampling.repetition_penalty, 0, 100, above=True)
    yield from _outside("presence_penalty", sampling.presence_penalty, -_PENALTY, _PENALTY)
    yield from _outside("frequency_penalty", sampling.frequency_penalty, -_PENALTY, _PENALTY)
    yield from _outside("logprobs", sampling.logprobs or 0, 0, MAX_LOGPROBS)
    count = len(sampling.stop_token_ids)
    if count > MAX_STOP_TOKENS:
        yield Violation("sampling.stop_token_ids", f"must be at most {MAX_STOP_TOKENS}, not {count}")


def _outside(
    field: str, value: float, low: float, high: float, *, above: bool = False
) -> Iterator[Violation]:
    """Yield a violation for a value outside of low to high (`above`: low itself is outside), and for NaN."""
    inside = low < value <= high if above else low <= value <= high
    if math.isnan(value) or not inside:
        word = "above" if above else "from"
        yield Violation(f"sampling.{field}", f"must be {word} {low:g} to {high:g}, not {value:g}")


def _standing_violations(tenant: str, priority: int) -> Iterator[Violation]:
    if len(tenant.encode()) > MAX_TENANT_BYTES:
        yield Violation("tenant", f"must be at most {MAX_TENANT_BYTES} bytes")
    if abs(priority) > MAX_PRIORITY:
        yield Violation("priority", f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}, not {priority}")


def _token_violations(field: str, tokens: Sequence[int], loaded: Loaded) -> Iterator[Violation]:
    if not tokens:
        yield Violation(field, "must hold at least one token")
    elif (largest := max(tokens)) >= loaded.vocabulary_size:
        yield Violation(field, f"must be below {loaded.vocabulary_size}, not {largest}")


def _check_length(field: str, length: int, limit: int, loaded: Loaded) -> None:
    if length <= limit:
        return
    description = f"must hold at most {limit:,} tokens, not {length:,}"
    raise InvalidArgument(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"{field} {description}: the model's context is {loaded.context_length:,} tokens.",
        metadata={"prompt_tokens": str(length), "context_length": str(loaded.context_length)},
        violations=[Violation(field, description)],
    )
