"""Sampling: the caller's word over the model's, the model's over the contract's."""

from __future__ import annotations

import pytest

from gateway.front.calls import Conversation, GenerateCall, Message, Sampling
from gateway.front.sampling import SamplingDefaults, max_tokens, sampling
from services.kit.errors import InvalidArgument, Reason


def test_unset_fields_are_the_contracts_defaults() -> None:
    assert sampling(GenerateCall("m", "a"), SamplingDefaults(), 7) == Sampling(max_tokens=7)


def test_the_models_defaults_go_before_the_contracts() -> None:
    advised = SamplingDefaults(temperature=0.2, top_p=0.9, top_k=40, min_p=0.1, repetition_penalty=1.1)
    chosen = sampling(GenerateCall("m", "a"), advised, 7)
    assert chosen == Sampling(7, 0.2, 0.9, 40, 0.1, 1.1)


def test_the_callers_zero_goes_before_the_models_default() -> None:
    call = GenerateCall("m", "a", temperature=0.0, top_k=0, seed=0, logprobs=0)
    chosen = sampling(call, SamplingDefaults(temperature=0.2, top_k=40), 7)
    assert (chosen.temperature, chosen.top_k, chosen.seed, chosen.logprobs) == (0.0, 0, 0, 0)


def test_what_ends_an_answer_is_passed_on() -> None:
    chosen = sampling(GenerateCall("m", "a", stop_token_ids=(2, 3), ignore_eos=True), SamplingDefaults(), 7)
    assert (chosen.stop_token_ids, chosen.ignore_eos) == ((2, 3), True)


@pytest.mark.parametrize(
    ("wanted", "prompt", "expected"), [(None, 10, 1_024), (None, 8_000, 192), (5, 8_000, 5)]
)
def test_an_answer_may_have_what_the_context_leaves(wanted: int | None, prompt: int, expected: int) -> None:
    assert max_tokens(GenerateCall("m", "a", max_tokens=wanted), prompt, 8_192) == expected


@pytest.mark.parametrize(
    ("call", "prompt", "field"),
    [
        (GenerateCall("m", "a"), 8_192, "prompt"),
        (GenerateCall("m", (1, 2)), 9_000, "token_ids"),
        (GenerateCall("m", Conversation((Message("user", "a"),))), 8_192, "chat"),
        (GenerateCall("m", "a", max_tokens=193), 8_000, "max_tokens"),
    ],
)
def test_what_does_not_fit_the_context_is_refused(call: GenerateCall, prompt: int, field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        max_tokens(call, prompt, 8_192)
    assert refusal.value.reason == Reason.CONTEXT_LENGTH_EXCEEDED
    assert refusal.value.metadata == {"prompt_tokens": str(prompt), "context_length": "8192"}
    assert [each.field for each in refusal.value.violations] == [field]
