from __future__ import annotations

import hashlib

import pytest
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from services.kit.errors import Reason
from tests.contract.tokenizer.serving import refusal
from tests.real_models import CHAT, EMBEDDER, tokenizer_files

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_tokenizers_that_are_here_are_listed_by_name(stub: TokenizerServiceStub) -> None:
    listed = (await stub.ListTokenizers(pb.ListTokenizersRequest())).tokenizers
    embedder, chat = (each for each in listed if each.model in {CHAT, EMBEDDER})

    assert (chat.model, embedder.model) == (CHAT, EMBEDDER)
    assert chat.digest == tokenizer_files(CHAT).digest
    assert (chat.vocabulary_size, embedder.vocabulary_size) == (49_152, 30_522)
    assert (chat.has_chat_template, embedder.has_chat_template) == (True, False)
    assert (list(chat.end_token_ids), list(embedder.end_token_ids)) == ([2], [])
    assert chat.format == pb.ARTIFACT_FORMAT_HF_TOKENIZER_JSON


async def test_pages_follow_each_other(stub: TokenizerServiceStub) -> None:
    first = await stub.ListTokenizers(pb.ListTokenizersRequest(page_size=1))
    second = await stub.ListTokenizers(
        pb.ListTokenizersRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [first.tokenizers[0].model, second.tokenizers[0].model] == [EMBEDDER, CHAT]
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    "bad", [pb.ListTokenizersRequest(page_token="x"), pb.ListTokenizersRequest(page_size=-1)]
)
async def test_a_page_that_nobody_gave_is_refused(
    stub: TokenizerServiceStub, bad: pb.ListTokenizersRequest
) -> None:
    refused = await refusal(stub.ListTokenizers(bad))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", Reason.FIELD_INVALID)


@pytest.mark.parametrize("model", [CHAT, EMBEDDER])
async def test_an_artefact_comes_whole_in_chunks_after_its_header(
    stub: TokenizerServiceStub, model: str
) -> None:
    digest = tokenizer_files(model).digest
    header, *chunks = [part async for part in stub.GetArtifact(pb.GetArtifactRequest(digest=digest))]
    content = b"".join(part.chunk for part in chunks)

    assert header.WhichOneof("part") == "header"
    assert header.header.model == model
    assert header.header.size_bytes == len(content) == tokenizer_files(model).path.stat().st_size
    assert hashlib.sha256(content).hexdigest() == digest
    assert max(len(part.chunk) for part in chunks) <= 1 << 20


@pytest.mark.parametrize(
    ("digest", "code", "reason"),
    [
        ("0" * 64, "NOT_FOUND", Reason.ARTIFACT_NOT_FOUND),
        ("", "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        ("A" * 64, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        ("0" * 64 + "\n", "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        ("../" * 21 + "x", "INVALID_ARGUMENT", Reason.FIELD_INVALID),
    ],
)
async def test_an_artefact_that_is_not_here_is_refused(
    stub: TokenizerServiceStub, digest: str, code: str, reason: Reason
) -> None:
    refused = await refusal(stub.GetArtifact(pb.GetArtifactRequest(digest=digest)).read())
    assert (refused.code, refused.reason) == (code, reason)
