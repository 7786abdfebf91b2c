"""Every field has a limit, and every field that breaks its limit is named."""

from __future__ import annotations

import math

import pytest

from gateway.front.calls import Conversation, EmbedCall, GenerateCall, Message
from gateway.front.limits import (
    MAX_PROMPT_BYTES,
    MAX_TEXT_BYTES,
    check_dimensions,
    check_embed,
    check_generate,
    check_ids,
    renamed,
)
from services.kit.errors import InvalidArgument, Reason, Violation

USER = Message("user", "hello")


def fields(refusal: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    assert refusal.value.reason == Reason.FIELD_INVALID
    return [each.field for each in refusal.value.violations]


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "logprobs": 0, "max_tokens": 1},
        {"temperature": 100.0, "min_p": 1.0, "repetition_penalty": 100.0, "logprobs": 20},
        {"presence_penalty": -100.0, "frequency_penalty": 100.0, "max_tokens": 2**32 - 1},
        {"stop": ("x" * 256,) * 16, "stop_token_ids": (0,) * 64, "version": "1.0-rc"},
        {"source": (0,)},
        {"source": Conversation((USER,) * 1_024)},
        {"source": "é" * (MAX_PROMPT_BYTES // 2)},
    ],
)
def test_values_at_their_limits_are_right(changes: dict[str, object]) -> None:
    check_generate(GenerateCall(**{"model": "m", "source": "a"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "../etc"}, "model"),
        ({"version": ""}, "model_version"),
        ({"source": None}, "input"),
        ({"source": ""}, "prompt"),
        ({"source": "é" * (MAX_PROMPT_BYTES // 2 + 1)}, "prompt"),
        ({"source": ()}, "token_ids.ids"),
        ({"source": Conversation(())}, "chat.messages"),
        ({"source": Conversation((USER,) * 1_025)}, "chat.messages"),
        ({"source": Conversation((USER, Message("", "a")))}, "chat.messages[1].role"),
        ({"source": Conversation((Message("x" * 65, "a"),))}, "chat.messages[0].role"),
        (
            {"source": Conversation((Message("user", "x" * (MAX_PROMPT_BYTES + 1)),))},
            "chat.messages[0].content",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"min_p": 1.1}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"presence_penalty": 100.1}, "presence_penalty"),
        ({"frequency_penalty": -math.inf}, "frequency_penalty"),
        ({"logprobs": 21}, "logprobs"),
        ({"stop": ("a",) * 17}, "stop"),
        ({"stop": ("a", "")}, "stop[1]"),
        ({"stop": ("é" * 129,)}, "stop[0]"),
        ({"stop_token_ids": (1,) * 65}, "stop_token_ids"),
    ],
)
def test_a_value_beyond_its_limit_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_generate(GenerateCall(**{"model": "m", "source": "a"} | changes))  # type: ignore[arg-type]
    assert fields(refusal) == [field]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_generate(GenerateCall("M", None, temperature=-1, top_p=2, stop=("",)))
    assert fields(refusal) == ["model", "input", "stop[0]", "temperature", "top_p"]


def test_a_refusal_stays_small_however_much_is_wrong() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_embed(EmbedCall("m" * 9_999, token_ids=((),) * 2_048))
    assert len(fields(refusal)) == 16
    assert len(str(refusal.value.violations)) + len(refusal.value.message) < 4_000


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (EmbedCall("m"), "texts"),
        (EmbedCall("m", ("a",), ((1,),)), "texts"),
        (EmbedCall("m", ("a",) * 2_049), "texts"),
        (EmbedCall("m", token_ids=((1,),) * 2_049), "token_ids"),
        (EmbedCall("m", ("a", "x" * (MAX_TEXT_BYTES + 1))), "texts[1]"),
        (EmbedCall("m", token_ids=((1,), ())), "token_ids[1].ids"),
        (EmbedCall("m", ("a",), pooling=9), "pooling"),
        (EmbedCall("m", ("a",), pooling=-1), "pooling"),
        (EmbedCall("m", ("a",), dimensions=0), "dimensions"),
    ],
)
def test_an_embed_beyond_a_limit_is_named(call: EmbedCall, field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_embed(call)
    assert fields(refusal) == [field]


def test_an_empty_text_is_a_text() -> None:
    check_embed(EmbedCall("m", ("",)))


def test_no_more_dimensions_than_the_model_has() -> None:
    check_dimensions(384, 384)
    check_dimensions(None, 384)
    with pytest.raises(InvalidArgument) as refusal:
        check_dimensions(385, 384)
    assert fields(refusal) == ["dimensions"]


def test_ids_outside_the_vocabulary_are_named() -> None:
    check_ids("token_ids.ids", (0, 99), 100)
    with pytest.raises(InvalidArgument) as refusal:
        check_ids("token_ids.ids", (0, 100, 5, 2**32 - 1), 100)
    assert fields(refusal) == ["token_ids.ids[1]", "token_ids.ids[3]"]


def test_the_tokenizers_fields_get_the_callers_names() -> None:
    theirs = InvalidArgument(
        Reason.FIELD_INVALID,
        "inputs[1].text must be at most 4194304 bytes",
        violations=[
            Violation("inputs[1].text", "must be at most 4194304 bytes"),
            Violation("inputs[0].chat.messages[2].role", "is unknown to the template"),
            Violation("inputs[7]", "is of nobody"),
        ],
    )
    ours = renamed(theirs, ["chat", "texts[4]"])
    assert ours.message == "texts[4] must be at most 4194304 bytes"
    assert [each.field for each in ours.violations] == ["texts[4]", "chat.messages[2].role", "inputs[7]"]
