"""Odd input in every field is answered or refused with a reason; never UNKNOWN or INTERNAL."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from services.kit.errors import Reason
from services.kit.status import from_rpc_error
from tests.contract.tokenizer.serving import refusal, serving
from tests.real_models import CHAT, EMBEDDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOUR_MIB = 4 << 20
ALLOWED = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}

TEXT = st.text(max_size=40) | st.sampled_from(
    [
        "",
        "\x00",
        "<|im_start|>",
        "[SEP][SEP]",
        "\u202e\ud7ff\ue000\uffff",
        "{{ 1 / 0 }}",
        "a\ue000open\ue001 b",
        "é" * 200,
    ]
)
NAME = (
    st.sampled_from([CHAT, EMBEDDER]) | st.text(max_size=8) | st.sampled_from(["../x", "A", "a" * 64, "none"])
)
INT32 = st.sampled_from([-(2**31), -1, 0, 1, 2, 3, 2**31 - 1]) | st.integers(-(2**31), 2**31 - 1)
UINT32 = st.sampled_from([0, 1, 2, 3, 5, 4_097, 1 << 20, 2**32 - 1]) | st.integers(0, 2**32 - 1)
MESSAGES = st.lists(st.builds(ChatMessage, role=TEXT, content=TEXT), max_size=4)
INPUTS = st.lists(
    st.one_of(
        st.builds(pb.EncodeInput, text=TEXT),
        st.builds(pb.EncodeInput, pair=st.builds(pb.TextPair, first=TEXT, second=TEXT)),
        st.builds(
            pb.EncodeInput, chat=st.builds(Chat, messages=MESSAGES, continue_last_message=st.booleans())
        ),
        st.just(pb.EncodeInput()),
    ),
    max_size=4,
)
REQUESTS = st.one_of(
    st.builds(
        pb.EncodeRequest,
        model=NAME,
        inputs=INPUTS,
        add_special_tokens=st.none() | st.booleans(),
        truncation=st.none() | st.builds(pb.Truncation, max_tokens=UINT32, side=INT32),
        padding=st.none()
        | st.builds(pb.Padding, length=st.none() | UINT32, multiple_of=UINT32, side=st.integers(0, 3)),
        return_offsets=st.booleans(),
        return_attention_mask=st.booleans(),
        return_special_tokens_mask=st.booleans(),
        return_type_ids=st.booleans(),
    ),
    st.builds(pb.CountTokensRequest, model=NAME, inputs=INPUTS, add_special_tokens=st.none() | st.booleans()),
    st.builds(
        pb.DecodeRequest,
        model=NAME,
        sequences=st.lists(
            st.builds(TokenIds, ids=st.lists(UINT32 | st.integers(0, 49_151), max_size=6)), max_size=4
        ),
        skip_special_tokens=st.none() | st.booleans(),
    ),
    st.builds(pb.ListTokenizersRequest, page_size=INT32, page_token=TEXT),
    st.builds(pb.GetArtifactRequest, digest=TEXT),
)


async def answered_or_refused(stub: TokenizerServiceStub, request: Any) -> None:
    name = type(request).__name__.removesuffix("Request")
    call = getattr(stub, name)(request)
    try:
        await (call.read() if name == "GetArtifact" else call)
    except grpc.aio.AioRpcError as error:
        refused = from_rpc_error(error)
        assert refused.code in ALLOWED, (request, refused)
        assert refused.reason in set(Reason) - {Reason.INTERNAL}
        if refused.reason == Reason.FIELD_INVALID:
            assert all(each.field and each.description for each in refused.violations)
            assert refused.violations


@given(request=REQUESTS)
@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_odd_requests_are_answered_or_refused(stub: TokenizerServiceStub, request: Any) -> None:
    await answered_or_refused(stub, request)


@pytest.mark.soak
@given(request=REQUESTS)
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_many_odd_requests_are_answered_or_refused(stub: TokenizerServiceStub, request: Any) -> None:
    await answered_or_refused(stub, request)


@pytest.mark.parametrize("method", ["Encode", "Decode", "CountTokens", "ListTokenizers", "GetArtifact"])
@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05ab", b"\x00" * 100])
async def test_bytes_that_are_no_message_are_refused(method: str, content: bytes) -> None:
    async with serving() as running:
        path = f"/trunkline.tokenizer.v1.TokenizerService/{method}"
        refused = await refusal(running.channel.unary_unary(path)(content))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_MALFORMED)


def chat(**message: str) -> pb.EncodeInput:
    return pb.EncodeInput(chat=Chat(messages=[ChatMessage(**message)]))


TEXTS = [pb.EncodeInput(text="a")]
BAD = [
    ({"model": "", "inputs": TEXTS}, "model"),
    ({"model": "No Name", "inputs": TEXTS}, "model"),
    ({"inputs": []}, "inputs"),
    ({"inputs": TEXTS * 2_049}, "inputs"),
    ({"inputs": [*TEXTS, pb.EncodeInput()]}, "inputs[1]"),
    ({"inputs": [pb.EncodeInput(text="a" * (FOUR_MIB + 1))]}, "inputs[0].text"),
    ({"inputs": [pb.EncodeInput(text="é" * (FOUR_MIB // 2) + "a")]}, "inputs[0].text"),
    ({"inputs": [pb.EncodeInput(pair=pb.TextPair(second="a" * (FOUR_MIB + 1)))]}, "inputs[0].pair.second"),
    ({"inputs": [pb.EncodeInput(text="a" * FOUR_MIB)] * 4 + TEXTS}, "inputs"),
    ({"inputs": [pb.EncodeInput(chat=Chat())]}, "inputs[0].chat.messages"),
    (
        {"inputs": [pb.EncodeInput(chat=Chat(messages=[ChatMessage(role="a")] * 1_025))]},
        "inputs[0].chat.messages",
    ),
    ({"inputs": [chat(content="a")]}, "inputs[0].chat.messages[0].role"),
    ({"inputs": [chat(role="é" * 33)]}, "inputs[0].chat.messages[0].role"),
    ({"inputs": [chat(role="user", content="a" * (FOUR_MIB + 1))]}, "inputs[0].chat.messages[0].content"),
    ({"truncation": pb.Truncation()}, "truncation.max_tokens"),
    ({"truncation": pb.Truncation(max_tokens=1)}, "truncation.max_tokens"),
    ({"truncation": pb.Truncation(max_tokens=9, side=9)}, "truncation.side"),  # type: ignore[arg-type]
    ({"padding": pb.Padding(length=(1 << 20) + 1)}, "padding.length"),
    ({"padding": pb.Padding(multiple_of=4_097)}, "padding.multiple_of"),
    ({"padding": pb.Padding(side=-1)}, "padding.side"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("fields", "violated"), BAD, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_wrong_field_is_named(
    stub: TokenizerServiceStub, fields: dict[str, Any], violated: str
) -> None:
    request = pb.EncodeRequest(**{"model": EMBEDDER, "inputs": TEXTS, **fields})
    refused = await refusal(stub.Encode(request))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", Reason.FIELD_INVALID)
    assert [violation.field for violation in refused.violations] == [violated]


async def test_all_wrong_fields_are_named_at_once(stub: TokenizerServiceStub) -> None:
    request = pb.CountTokensRequest(model=CHAT, inputs=[pb.EncodeInput()] * 100)
    refused = await refusal(stub.CountTokens(request))
    assert [each.field for each in refused.violations] == [f"inputs[{number}]" for number in range(16)]


async def test_the_largest_text_is_taken(stub: TokenizerServiceStub) -> None:
    request = pb.CountTokensRequest(model=CHAT, inputs=[pb.EncodeInput(text="word " * (FOUR_MIB // 5))])
    assert (await stub.CountTokens(request, timeout=250)).total > FOUR_MIB // 6


async def test_a_model_that_nobody_knows_is_not_found(stub: TokenizerServiceStub) -> None:
    for call in (
        stub.Encode(pb.EncodeRequest(model="none", inputs=TEXTS)),
        stub.CountTokens(pb.CountTokensRequest(model="none", inputs=TEXTS)),
        stub.Decode(pb.DecodeRequest(model="none", sequences=[TokenIds(ids=[1])])),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == ("NOT_FOUND", Reason.MODEL_NOT_FOUND)
        assert refused.metadata == {"model": "none"}
