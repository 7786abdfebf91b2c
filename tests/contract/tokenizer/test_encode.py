from __future__ import annotations

import asyncio

import pytest
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from services.kit.errors import Reason
from tests.contract.tokenizer.serving import offsets, refusal
from tests.real_models import CHAT, EMBEDDER, TEXTS, reference, tokenizer_files

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = {
    "return_offsets": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_type_ids": True,
}


def texts(*values: str) -> list[pb.EncodeInput]:
    return [pb.EncodeInput(text=value) for value in values]


def pair(first: str, second: str) -> pb.EncodeInput:
    return pb.EncodeInput(pair=pb.TextPair(first=first, second=second))


def chat(*messages: tuple[str, str], **options: bool) -> pb.EncodeInput:
    said = [ChatMessage(role=role, content=content) for role, content in messages]
    return pb.EncodeInput(chat=Chat(messages=said, **options))


async def encode(
    stub: TokenizerServiceStub, model: str, *inputs: pb.EncodeInput, **options: object
) -> list[pb.Encoding]:
    request = pb.EncodeRequest(model=model, inputs=inputs, **options)  # type: ignore[arg-type]
    return list((await stub.Encode(request, timeout=200)).encodings)


@pytest.mark.parametrize("model", [CHAT, EMBEDDER])
@pytest.mark.parametrize("add_special_tokens", [True, False])
async def test_ids_are_those_of_transformers(
    stub: TokenizerServiceStub, model: str, add_special_tokens: bool
) -> None:
    encodings = await encode(stub, model, *texts(*TEXTS), add_special_tokens=add_special_tokens)
    expected = [reference(model)(text, add_special_tokens=add_special_tokens).input_ids for text in TEXTS]
    assert [list(each.ids) for each in encodings] == expected


@pytest.mark.parametrize("model", [CHAT, EMBEDDER])
async def test_all_lists_are_those_of_transformers(stub: TokenizerServiceStub, model: str) -> None:
    items: list[tuple[str, ...]] = [*((text,) for text in TEXTS), ("one and two", "three"), ("", "日本")]
    inputs = [pair(*item) if len(item) == 2 else pb.EncodeInput(text=item[0]) for item in items]
    theirs = reference(model)
    special = theirs.backend_tokenizer.get_added_tokens_decoder()
    for item, encoding in zip(items, await encode(stub, model, *inputs, **ALL), strict=True):
        expected = theirs(*item, return_offsets_mapping=True, return_token_type_ids=True)
        assert list(encoding.ids) == expected.input_ids
        assert offsets(encoding) == expected.offset_mapping
        assert list(encoding.type_ids) == expected.token_type_ids
        assert list(encoding.attention_mask) == expected.attention_mask
        assert list(encoding.special_tokens_mask) == [int(each in special) for each in encoding.ids]


async def test_lists_that_are_not_asked_for_are_not_sent(stub: TokenizerServiceStub) -> None:
    [encoding] = await encode(stub, EMBEDDER, *texts("one two"))
    assert encoding == pb.Encoding(ids=encoding.ids)


async def test_a_chat_is_put_into_the_models_template(stub: TokenizerServiceStub) -> None:
    messages = [("user", "What is the capital of France?"), ("assistant", "The capital")]
    [answered, opened] = await encode(
        stub, CHAT, chat(*messages), chat(*messages, continue_last_message=True), add_special_tokens=True
    )
    said = [{"role": role, "content": content} for role, content in messages]
    theirs = reference(CHAT)
    assert list(answered.ids) == theirs.apply_chat_template(said, add_generation_prompt=True)["input_ids"]
    assert list(opened.ids) == theirs.apply_chat_template(said, continue_final_message=True)["input_ids"]


async def test_a_chat_needs_a_template(stub: TokenizerServiceStub) -> None:
    refused = await refusal(encode(stub, EMBEDDER, chat(("user", "Hi"))))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", Reason.TASK_UNSUPPORTED)
    assert refused.metadata["model"] == EMBEDDER


async def test_offsets_of_special_tokens_that_a_text_spells_are_theirs(stub: TokenizerServiceStub) -> None:
    [encoding] = await encode(stub, CHAT, *texts("é<|im_end|>"), **ALL)
    assert list(encoding.ids)[-1] == 2
    assert offsets(encoding)[-1] == (1, 11)
    assert list(encoding.special_tokens_mask)[-1] == 1


@pytest.mark.parametrize("side", [pb.SIDE_UNSPECIFIED, pb.SIDE_LEFT, pb.SIDE_RIGHT])
async def test_long_inputs_are_cut_and_keep_their_special_tokens(
    stub: TokenizerServiceStub, side: pb.Side
) -> None:
    cut = pb.Truncation(max_tokens=5, side=side)
    [long, short] = await encode(stub, EMBEDDER, *texts("a b c d e f", "a"), truncation=cut)
    left = side == pb.SIDE_LEFT
    theirs = reference(EMBEDDER)
    theirs.truncation_side = "left" if left else "right"

    assert list(long.ids) == theirs("a b c d e f", truncation=True, max_length=5).input_ids
    assert (long.truncated_tokens, short.truncated_tokens) == (3, 0)
    theirs.truncation_side = "right"


@pytest.mark.parametrize(
    ("padding", "lengths"),
    [
        (pb.Padding(), [5, 5]),
        (pb.Padding(length=4), [5, 4]),
        (pb.Padding(length=7), [7, 7]),
        (pb.Padding(multiple_of=8), [8, 8]),
        (pb.Padding(length=9, multiple_of=4, side=pb.SIDE_LEFT), [12, 12]),
        (pb.Padding(length=0), [5, 3]),
    ],
)
async def test_short_inputs_are_filled(
    stub: TokenizerServiceStub, padding: pb.Padding, lengths: list[int]
) -> None:
    encodings = await encode(stub, EMBEDDER, *texts("a b c", "a"), padding=padding, **ALL)
    assert [len(each.ids) for each in encodings] == lengths
    for each in encodings:
        lists = (each.offsets, each.attention_mask, each.special_tokens_mask, each.type_ids)
        assert {len(every) for every in lists} == {len(each.ids)}
        pad = 0
        assert [token == pad for token in each.ids] == [not mask for mask in each.attention_mask]
    if padding.side == pb.SIDE_LEFT:
        assert list(encodings[0].attention_mask)[:7] == [0] * 7


async def test_requests_with_different_options_do_not_change_each_other(stub: TokenizerServiceStub) -> None:
    several: list[dict[str, object]] = [
        {},
        {"return_offsets": True},
        {"add_special_tokens": False},
        {"truncation": pb.Truncation(max_tokens=4), "padding": pb.Padding(length=16)},
    ]

    async def one(options: dict[str, object]) -> list[pb.Encoding]:
        return await encode(stub, EMBEDDER, *texts("a b c d e f", "g"), **options)

    alone = [await one(options) for options in several]
    assert await asyncio.gather(*(one(options) for options in several * 20)) == alone * 20


async def test_many_concurrent_calls_each_get_their_own(stub: TokenizerServiceStub) -> None:
    async def one(number: int) -> None:
        text = f"call number {number} " * (number % 7)
        [encoding] = await encode(stub, CHAT, *texts(text))
        assert list(encoding.ids) == reference(CHAT)(text).input_ids

    await asyncio.gather(*(one(number) for number in range(200)))


async def test_a_long_text_does_not_hold_up_a_short_one(stub: TokenizerServiceStub) -> None:
    finished = []

    async def one(text: str) -> None:
        await encode(stub, CHAT, *texts(text))
        finished.append(len(text))

    long = asyncio.create_task(one("many words " * 70_000))
    await asyncio.sleep(0)
    await one("few words")
    await long
    assert finished[0] == len("few words")


async def test_the_answer_names_the_tokenizer(stub: TokenizerServiceStub) -> None:
    answer = await stub.Encode(pb.EncodeRequest(model=CHAT, inputs=texts("a")))
    assert answer.tokenizer_digest == tokenizer_files(CHAT).digest


async def test_an_answer_that_would_be_too_large_is_refused(stub: TokenizerServiceStub) -> None:
    fill = pb.Padding(length=1 << 20)
    refused = await refusal(encode(stub, CHAT, *texts(*["a"] * 17), padding=fill))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", Reason.MESSAGE_TOO_LARGE)


async def test_counts_are_the_lengths_of_encodings(stub: TokenizerServiceStub) -> None:
    inputs = [*texts(*TEXTS), pair("a", "b"), chat(("user", "Hi"))]
    encodings = await encode(stub, CHAT, *inputs)
    counted = await stub.CountTokens(pb.CountTokensRequest(model=CHAT, inputs=inputs))
    bare = await stub.CountTokens(
        pb.CountTokensRequest(model=EMBEDDER, inputs=texts("a"), add_special_tokens=False)
    )

    assert list(counted.counts) == [len(each.ids) for each in encodings]
    assert counted.total == sum(counted.counts)
    assert counted.tokenizer_digest == tokenizer_files(CHAT).digest
    assert list(bare.counts) == [1]
