"""Requests that no engine should see are refused, field by field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.wire import Loaded, Sampling
from services.kit.errors import InvalidArgument

LOADED = Loaded(
    model="m@1", context_length=100, vocabulary_size=512, dimensions=64, cache_tokens=0, memory_bytes=0
)


def generation(token_ids: list[int] | None = None, **sampling: Any) -> GenerationRequest:
    asked = {"max_tokens": 5} | sampling
    return GenerationRequest("m", "", [3] if token_ids is None else token_ids, Sampling(**asked))


def embedding(inputs: list[list[int]] | None = None, dimensions: int | None = None) -> EmbeddingRequest:
    return EmbeddingRequest("m", "", [[3]] if inputs is None else inputs, None, None, dimensions)


def refused(request: GenerationRequest | EmbeddingRequest) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as failed:
        request.check(LOADED)
    return failed.value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_tokens", [0]),
        ("temperature", [-0.1, 100.1, math.nan, math.inf]),
        ("top_p", [0.0, -1.0, 1.1, math.nan]),
        ("min_p", [-0.1, 1.1, math.nan]),
        ("repetition_penalty", [0.0, -1.0, 101.0, math.nan]),
        ("presence_penalty", [-101.0, 101.0, math.nan, -math.inf]),
        ("frequency_penalty", [-101.0, 101.0, math.nan]),
        ("logprobs", [21]),
        ("stop_token_ids", [tuple(range(65))]),
    ],
)
def test_a_field_out_of_range_is_named(field: str, values: list[Any]):
    for value in values:
        error = refused(generation(**{field: value}))
        assert error.reason == "FIELD_INVALID"
        assert [violation.field for violation in error.violations] == [f"sampling.{field}"]


@pytest.mark.parametrize(
    "sampling",
    [
        {"max_tokens": 2**32 - 1},
        {"temperature": 0.0},
        {"temperature": 100.0},
        {"top_p": 1.0},
        {"top_k": 2**32 - 1},
        {"min_p": 1.0},
        {"repetition_penalty": 100.0},
        {"presence_penalty": -100.0, "frequency_penalty": 100.0},
        {"logprobs": 20, "seed": 2**64 - 1, "stop_token_ids": tuple(range(64))},
    ],
)
def test_the_ends_of_the_ranges_are_inside(sampling: dict[str, Any]):
    assert generation(**sampling).check(LOADED).max_tokens >= 1


def test_all_that_is_wrong_is_told_at_once():
    error = refused(generation([], temperature=-1.0, top_p=0.0))
    fields = [violation.field for violation in error.violations]
    assert fields == ["sampling.temperature", "sampling.top_p", "token_ids"]


def test_sampling_must_be_set():
    error = refused(GenerationRequest("m", "", [3], None))
    assert [violation.field for violation in error.violations] == ["sampling"]


def test_a_token_that_the_model_does_not_have_is_refused():
    assert "512" in refused(generation([3, 512])).message
    assert refused(embedding([[3], [511, 2**32 - 1]])).violations[0].field == "inputs[1].ids"


def test_a_prompt_leaves_room_for_a_token():
    generation([3] * 99).check(LOADED)
    error = refused(generation([3] * 100))
    assert error.reason == "CONTEXT_LENGTH_EXCEEDED"
    assert error.metadata == {"prompt_tokens": "100", "context_length": "100"}


def test_an_input_may_fill_the_context():
    embedding([[3] * 100]).check(LOADED)
    assert refused(embedding([[3], [3] * 101])).reason == "CONTEXT_LENGTH_EXCEEDED"


@pytest.mark.parametrize("inputs", [[], [[3]] * 2_049, [[3], []]])
def test_inputs_are_there_and_not_too_many(inputs: list[list[int]]):
    assert refused(embedding(inputs)).reason == "FIELD_INVALID"


@pytest.mark.parametrize("dimensions", [0, 65])
def test_dimensions_are_the_models_or_fewer(dimensions: int):
    assert refused(embedding(dimensions=dimensions)).violations[0].field == "dimensions"
