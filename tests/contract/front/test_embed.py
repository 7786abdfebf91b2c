"""Embed: texts in, vectors out."""

from __future__ import annotations

import asyncio

import pytest
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.sampling_pb2 import POOLING_CLS, TokenIds

from services.kit.errors import Reason, ResourceExhausted, Unavailable
from tests.contract.front.mesh import Mesh, refusal
from tests.contract.front.worker_double import CONTEXT


def vectors(response: pb.EmbedResponse) -> list[list[float]]:
    return [list(each.values) for each in response.embeddings]


async def test_texts_become_vectors_in_their_order(mesh: Mesh) -> None:
    response = await mesh.embed("a", "bbb", "cc")
    assert vectors(response) == [[1, 2, 3, 4], [3, 4, 5, 6], [2, 3, 4, 5]]
    assert response.usage.prompt_tokens == 6
    assert response.model_version == "1"
    assert [bytes(each.ids) for each in mesh.worker.embeds[0].inputs] == [b"a", b"bbb", b"cc"]


async def test_unset_fields_stay_unset_and_set_ones_are_passed_on(mesh: Mesh) -> None:
    await mesh.embed("a")
    assert not mesh.worker.embeds[0].HasField("normalize")
    assert not mesh.worker.embeds[0].HasField("dimensions")
    response = await mesh.embed("a", pooling=POOLING_CLS, normalize=False, dimensions=2)
    asked = mesh.worker.embeds[1]
    assert (asked.pooling, asked.HasField("normalize"), asked.normalize) == (POOLING_CLS, True, False)
    assert vectors(response) == [[1, 2]]


async def test_a_long_text_is_cut_to_the_context(mesh: Mesh) -> None:
    await mesh.embed("x" * 600)
    assert len(mesh.worker.embeds[0].inputs[0].ids) == CONTEXT


async def test_a_long_text_that_must_not_be_cut_is_refused_by_name(mesh: Mesh) -> None:
    error = await refusal(mesh.embed("a", "x" * 600, truncate=False))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.CONTEXT_LENGTH_EXCEEDED)
    assert [each.field for each in error.violations] == ["texts[1]"]
    assert error.metadata == {"prompt_tokens": "600", "context_length": str(CONTEXT)}


async def test_token_ids_need_no_encode_and_have_the_same_limits(mesh: Mesh) -> None:
    long = TokenIds(ids=[7] * 600)
    response = await mesh.embed(token_ids=[TokenIds(ids=[1, 2]), long])
    assert vectors(response)[0] == [2, 3, 4, 5]
    assert [len(each.ids) for each in mesh.worker.embeds[0].inputs] == [2, CONTEXT]
    assert not mesh.tokenizer.encodes
    error = await refusal(mesh.embed(token_ids=[long], truncate=False))
    assert [each.field for each in error.violations] == ["token_ids[0]"]
    error = await refusal(mesh.embed(token_ids=[TokenIds(ids=[1]), TokenIds(ids=[256])]))
    assert [each.field for each in error.violations] == ["token_ids[1].ids[0]"]


@pytest.mark.parametrize(
    ("texts", "fields", "code", "reason"),
    [
        ((), {}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        (("a",), {"token_ids": [TokenIds(ids=[1])]}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        (("a",), {"dimensions": 5}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        (("a",), {"pooling": 9}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        (("",), {}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),  # this tokenizer makes no token of it
        (("a",), {"model": "writer"}, "FAILED_PRECONDITION", Reason.TASK_UNSUPPORTED),
        (("a",), {"model": "nobody"}, "NOT_FOUND", Reason.MODEL_NOT_FOUND),
    ],
)
async def test_a_wrong_request_is_refused_with_its_reason(
    mesh: Mesh, texts: tuple[str, ...], fields: dict[str, object], code: str, reason: Reason
) -> None:
    error = await refusal(mesh.embed(*texts, **fields))
    assert (error.code, error.reason) == (code, reason)
    assert not mesh.worker.embeds


@pytest.mark.parametrize(
    "error", [ResourceExhausted(Reason.QUEUE_FULL, "full"), Unavailable(Reason.ENGINE_LOST, "lost")]
)
async def test_a_worker_that_fails_is_replaced_by_another(pair: Mesh, error: Exception) -> None:
    fails, answers = pair.workers
    fails.refusal = error
    for _ in range(12):
        assert vectors(await pair.embed("a")) == [[1, 2, 3, 4]]
    assert fails.embeds
    assert len(answers.embeds) == 12


async def test_without_another_worker_its_reason_stands(mesh: Mesh) -> None:
    mesh.worker.refusal = ResourceExhausted(Reason.QUEUE_FULL, "full", retry_after=2)
    error = await refusal(mesh.embed("a"))
    assert (error.code, error.reason, error.retry_after) == ("RESOURCE_EXHAUSTED", Reason.QUEUE_FULL, 2)


async def test_concurrent_calls_share_one_encode(mesh: Mesh) -> None:
    mesh.tokenizer.open.clear()
    calls = [asyncio.create_task(mesh.embed("x" * length)) for length in range(1, 9)]
    await mesh.tokenizer.called.wait()
    await mesh.stub.GetModel(pb.GetModelRequest(model="embedder"))  # all eight have come by then
    mesh.tokenizer.open.set()
    responses = await asyncio.gather(*calls)
    assert [vectors(each)[0][0] for each in responses] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(mesh.tokenizer.encodes) < 5
