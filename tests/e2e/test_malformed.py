"""Whatever bytes come in, the answer is an answer or a clear refusal, and no process ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage, EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.tokenizer.v1.tokenizer_pb2 import EncodeInput, EncodeRequest, Padding, TextPair, Truncation
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from tests.e2e.harness import RunningMesh

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
RPCS = [
    "/trunkline.inference.v1.InferenceService/Generate",
    "/trunkline.inference.v1.InferenceService/Embed",
    "/trunkline.tokenizer.v1.TokenizerService/Encode",
]

models = st.sampled_from(
    ["smollm2-135m-instruct", "all-minilm-l6-v2", "no-such-model", "", "../../etc", "A", "é"]
) | st.text(max_size=80)
texts = st.text(max_size=40) | st.sampled_from(
    ["", "\x00", "\u202e", "<|im_end|>", "a" * 20_000, "👩‍👩‍👧‍👦" * 50]
)
ids = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 49_151), max_size=12).map(
    lambda found: TokenIds(ids=found)
)
floats = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 0.7, 1e9])
counts = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2, 20])
messages = st.builds(
    ChatMessage,
    role=st.sampled_from(["user", "assistant", "system", "", "x" * 99]) | st.text(max_size=9),
    content=texts,
)
chats = st.builds(Chat, messages=st.lists(messages, max_size=4), continue_last_message=st.booleans())


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Leave a field unset four times of five, so that a request often has just one odd field."""
    return st.integers(0, 4).flatmap(lambda roll: strategy if roll == 0 else st.none())


generates = st.builds(
    lambda source, **fields: GenerateRequest(**source, **fields),
    source=st.one_of(
        st.fixed_dictionaries({"prompt": texts}),
        st.fixed_dictionaries({"token_ids": ids}),
        st.fixed_dictionaries({"chat": chats}),
        st.just({}),
    ),
    model=models,
    max_tokens=st.just(1) | optional(counts),
    temperature=optional(floats),
    top_p=optional(floats),
    top_k=optional(counts),
    min_p=optional(floats),
    repetition_penalty=optional(floats),
    presence_penalty=optional(floats),
    frequency_penalty=optional(floats),
    seed=optional(st.integers(0, 2**64 - 1)),
    stop=optional(st.lists(st.text(max_size=300), max_size=18)),
    stop_token_ids=optional(st.lists(counts, max_size=70)),
    ignore_eos=st.booleans(),
    logprobs=optional(counts),
    model_version=optional(st.text(max_size=20)),
)
embeds = st.builds(
    EmbedRequest,
    model=models,
    texts=st.lists(texts, max_size=3),
    token_ids=optional(st.lists(ids, max_size=3)),
    pooling=st.integers(-1, 9),
    normalize=optional(st.booleans()),
    dimensions=optional(counts),
    truncate=optional(st.booleans()),
    model_version=optional(st.text(max_size=20)),
)
inputs = st.one_of(
    st.builds(EncodeInput, text=texts),
    st.builds(EncodeInput, pair=st.builds(TextPair, first=texts, second=texts)),
    st.builds(EncodeInput, chat=chats),
    st.just(EncodeInput()),
)
encodes = st.builds(
    EncodeRequest,
    model=models,
    inputs=st.lists(inputs, max_size=4),
    add_special_tokens=optional(st.booleans()),
    truncation=optional(st.builds(Truncation, max_tokens=counts, side=st.integers(-1, 5))),
    padding=optional(
        st.builds(
            Padding,
            length=optional(st.integers(0, 4_096) | counts),
            multiple_of=counts,
            side=st.integers(-1, 5),
        )
    ),
    return_offsets=st.booleans(),
    return_attention_mask=st.booleans(),
    return_special_tokens_mask=st.booleans(),
    return_type_ids=st.booleans(),
)
seeded = settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(seeded, max_examples=500, derandomize=False)


@pytest.fixture(scope="module")
def sync_channel(mesh: RunningMesh) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(
        mesh.public, options=[("grpc.max_receive_message_length", 64 << 20)]
    ) as channel:
        yield channel


@pytest.fixture(scope="module", autouse=True)
def no_process_ends(mesh: RunningMesh) -> Iterator[None]:
    before = {process.pid for process in mesh.processes()}
    yield
    assert before == {process.pid for process in mesh.processes() if process.status() != psutil.STATUS_ZOMBIE}


def check(call: Any) -> None:
    """Read a call's first message; a refusal must be one that a caller can understand."""
    try:
        next(call, None)
    except grpc.RpcError as error:
        if error.code() not in REFUSALS:
            raise
    finally:
        call.cancel()


def generate(channel: grpc.Channel, request: GenerateRequest) -> None:
    check(InferenceServiceStub(channel).Generate(request, timeout=100))


def embed(channel: grpc.Channel, request: EmbedRequest) -> None:
    check(iter_unary(InferenceServiceStub(channel).Embed.future(request, timeout=100)))


def encode(channel: grpc.Channel, request: EncodeRequest) -> None:
    check(iter_unary(TokenizerServiceStub(channel).Encode.future(request, timeout=100)))


def garbage(channel: grpc.Channel, rpc: str, body: bytes) -> None:
    check(channel.unary_stream(rpc)(body, timeout=100))


class iter_unary:  # noqa: N801 - it wraps a call so that `check` can read it as a stream of one
    """A unary call as an iterator of one message."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def __next__(self) -> Any:
        return self._future.result()

    def cancel(self) -> None:
        self._future.cancel()


@seeded
@given(request=generates)
def test_generate_answers_or_refuses_clearly(sync_channel: grpc.Channel, request: GenerateRequest) -> None:
    generate(sync_channel, request)


@seeded
@given(request=embeds)
def test_embed_answers_or_refuses_clearly(sync_channel: grpc.Channel, request: EmbedRequest) -> None:
    embed(sync_channel, request)


@seeded
@given(request=encodes)
def test_encode_answers_or_refuses_clearly(sync_channel: grpc.Channel, request: EncodeRequest) -> None:
    encode(sync_channel, request)


@seeded
@given(rpc=st.sampled_from(RPCS), body=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_clearly(
    sync_channel: grpc.Channel, rpc: str, body: bytes
) -> None:
    garbage(sync_channel, rpc, body)


@pytest.mark.soak
@thorough
@given(request=generates)
def test_generate_stands_five_hundred_odd_requests(
    sync_channel: grpc.Channel, request: GenerateRequest
) -> None:
    generate(sync_channel, request)


@pytest.mark.soak
@thorough
@given(request=embeds)
def test_embed_stands_five_hundred_odd_requests(sync_channel: grpc.Channel, request: EmbedRequest) -> None:
    embed(sync_channel, request)


@pytest.mark.soak
@thorough
@given(request=encodes)
def test_encode_stands_five_hundred_odd_requests(sync_channel: grpc.Channel, request: EncodeRequest) -> None:
    encode(sync_channel, request)


@pytest.mark.soak
@thorough
@given(rpc=st.sampled_from(RPCS), body=st.binary(max_size=200))
def test_five_hundred_bodies_of_garbage_are_refused_clearly(
    sync_channel: grpc.Channel, rpc: str, body: bytes
) -> None:
    garbage(sync_channel, rpc, body)
