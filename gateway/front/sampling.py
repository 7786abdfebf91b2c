"""Sampling as a worker is told it: the caller's fields over the model's defaults over the contract's."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.front.calls import GenerateCall, Sampling
from services.kit.errors import InvalidArgument, Reason, Violation

# What an answer may have where the caller does not say.
DEFAULT_MAX_TOKENS = 1_024

_ADVISED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_PLAIN = ("presence_penalty", "frequency_penalty", "seed", "logprobs")


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """Sampling that a model's makers advise; None where they leave it open."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


def sampling(call: GenerateCall, defaults: SamplingDefaults, max_tokens: int) -> Sampling:
    """Return the sampling of `call`, which makes `max_tokens` at most."""
    chosen = {name: getattr(call, name) for name in _ADVISED + _PLAIN}
    for name in _ADVISED:
        if chosen[name] is None:
            chosen[name] = getattr(defaults, name)
    return Sampling(
        max_tokens=max_tokens,
        stop_token_ids=call.stop_token_ids,
        ignore_eos=call.ignore_eos,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def max_tokens(call: GenerateCall, prompt_tokens: int, context_length: int) -> int:
    """Return how many tokens may be made after `prompt_tokens`.

    Raises InvalidArgument CONTEXT_LENGTH_EXCEEDED where the context leaves none, or fewer than wanted.
    """
    left = context_length - prompt_tokens
    if left < 1:
        raise context_exceeded(_field(call), prompt_tokens, context_length)
    if call.max_tokens is None:
        return min(DEFAULT_MAX_TOKENS, left)
    if call.max_tokens > left:
        raise context_exceeded("max_tokens", prompt_tokens, context_length, wanted=call.max_tokens)
    return call.max_tokens


def context_exceeded(
    field: str, prompt_tokens: int, context_length: int, *, wanted: int = 0
) -> InvalidArgument:
    """Return the error for `prompt_tokens`, and `wanted` ones after them, that do not fit a context."""
    if wanted:
        description = f"must be at most {context_length - prompt_tokens} after this prompt, not {wanted}"
    else:
        description = f"has {prompt_tokens} tokens, and the model's context {context_length}"
    return InvalidArgument(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"{field} {description}",
        metadata={"prompt_tokens": str(prompt_tokens), "context_length": str(context_length)},
        violations=[Violation(field, description)],
    )


def _field(call: GenerateCall) -> str:
    if isinstance(call.source, str):
        return "prompt"
    return "token_ids" if isinstance(call.source, tuple) else "chat"
