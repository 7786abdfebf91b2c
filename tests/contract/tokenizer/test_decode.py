from __future__ import annotations

import pytest
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from services.kit.errors import Reason
from tests.contract.tokenizer.serving import refusal
from tests.real_models import CHAT, EMBEDDER, TEXTS, reference, tokenizer_files

pytestmark = pytest.mark.asyncio(loop_scope="module")


def request(model: str, *sequences: list[int], **options: bool) -> pb.DecodeRequest:
    return pb.DecodeRequest(model=model, sequences=[TokenIds(ids=ids) for ids in sequences], **options)


@pytest.mark.parametrize("model", [CHAT, EMBEDDER])
@pytest.mark.parametrize("skip", [True, False])
async def test_texts_are_those_of_transformers(stub: TokenizerServiceStub, model: str, skip: bool) -> None:
    sequences = [reference(model)(text).input_ids for text in TEXTS]
    answer = await stub.Decode(request(model, *sequences, skip_special_tokens=skip))
    expected = [reference(model).decode(ids, skip_special_tokens=skip) for ids in sequences]
    assert list(answer.texts) == expected
    assert answer.tokenizer_digest == tokenizer_files(model).digest


async def test_special_tokens_are_left_out_unless_asked_for(stub: TokenizerServiceStub) -> None:
    [plain] = (await stub.Decode(request(CHAT, [1, 2]))).texts
    [kept] = (await stub.Decode(request(CHAT, [1, 2], skip_special_tokens=False))).texts
    assert (plain, kept) == ("", "<|im_start|><|im_end|>")


async def test_what_is_encoded_comes_back(stub: TokenizerServiceStub) -> None:
    inputs = [pb.EncodeInput(text=text) for text in TEXTS if "<|" not in text]
    encoded = await stub.Encode(pb.EncodeRequest(model=CHAT, inputs=inputs))
    decoded = await stub.Decode(request(CHAT, *(list(each.ids) for each in encoded.encodings)))
    assert list(decoded.texts) == [each.text for each in inputs]


@pytest.mark.parametrize(
    ("sequences", "field"),
    [
        ([], "sequences"),
        ([[1]] * 2_049, "sequences"),
        ([[1], [5, 49_152]], "sequences[1].ids[1]"),
        ([[2**32 - 1]], "sequences[0].ids[0]"),
        ([[1] * (1 << 21), [1] * (1 << 21), [1]], "sequences"),
    ],
)
async def test_what_cannot_be_decoded_is_refused_by_its_field(
    stub: TokenizerServiceStub, sequences: list[list[int]], field: str
) -> None:
    refused = await refusal(stub.Decode(request(CHAT, *sequences)))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", Reason.FIELD_INVALID)
    assert [violation.field for violation in refused.violations] == [field]
