"""Rerank: documents in the order of their nearness to a query."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.worker.v1.worker_pb2 import EmbedRequest, EmbedResponse

from gateway.front.limits import MAX_DOCUMENTS
from services.kit.errors import Reason
from tests.contract.front.mesh import Mesh, refusal

# What each text points at; the tokenizer double makes a text's bytes its ids.
DIRECTIONS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "far north": (0, 9), "nowhere": (0, 0)}


@pytest.fixture(autouse=True)
def compass(mesh: Mesh) -> None:
    """Let the worker's vectors be directions."""

    def embedded(request: EmbedRequest) -> EmbedResponse:
        found = [DIRECTIONS[bytes(each.ids).decode()] for each in request.inputs]
        values = b"".join(struct.pack("<2f", *each) for each in found)
        return EmbedResponse(
            values=values,
            dimensions=2,
            usage={"prompt_tokens": sum(len(each.ids) for each in request.inputs)},
        )

    mesh.worker.embedded = embedded


async def rerank(mesh: Mesh, *documents: str, query: str = "north", **fields: Any) -> pb.RerankResponse:
    request = pb.RerankRequest(model="embedder", query=query, documents=documents, **fields)
    return await mesh.stub.Rerank(request, timeout=60)


async def test_the_nearest_come_first_with_their_cosines(mesh: Mesh) -> None:
    answer = await rerank(mesh, "south", "nowhere", "far north", "east", "north")
    assert [(each.index, each.score) for each in answer.results] == [(2, 1), (4, 1), (1, 0), (3, 0), (0, -1)]
    assert answer.model_version == "1"
    assert answer.usage.prompt_tokens == len("northsouthnowherefar northeastnorth")


async def test_no_more_are_returned_than_asked_for(mesh: Mesh) -> None:
    assert [each.index for each in (await rerank(mesh, "south", "north", max_results=1)).results] == [1]
    assert len((await rerank(mesh, "south", "north", max_results=9)).results) == 2


async def test_a_query_without_a_direction_is_near_nothing(mesh: Mesh) -> None:
    answer = await rerank(mesh, "south", "north", query="nowhere")
    assert [(each.index, each.score) for each in answer.results] == [(0, 0), (1, 0)]


async def test_the_most_documents_are_ranked_in_one_call(mesh: Mesh) -> None:
    answer = await rerank(mesh, *["east"] * (MAX_DOCUMENTS - 1), "north")
    assert answer.results[0].index == MAX_DOCUMENTS - 1
    assert len(answer.results) == MAX_DOCUMENTS


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["east"] * (MAX_DOCUMENTS + 1)}, "documents"),
        ({"max_results": 0}, "max_results"),
        ({"model": "../x"}, "model"),
    ],
)
async def test_what_is_wrong_is_named(mesh: Mesh, fields: dict[str, Any], field: str) -> None:
    request = {"model": "embedder", "query": "north", "documents": ["east"]} | fields
    error = await refusal(mesh.stub.Rerank(pb.RerankRequest(**request)))
    assert (error.reason, [each.field for each in error.violations]) == (Reason.FIELD_INVALID, [field])


@pytest.mark.parametrize(
    ("texts", "field"), [(["north", "far north"], "documents[0]"), (["far north"], "query")]
)
async def test_a_text_that_is_too_long_is_named_as_its_caller_knows_it(
    mesh: Mesh, texts: list[str], field: str
) -> None:
    long = [text * 100 if text == "far north" else text for text in texts]
    request = pb.RerankRequest(
        model="embedder", query=long[0], documents=long[1:] or ["east"], truncate=False
    )
    error = await refusal(mesh.stub.Rerank(request))
    assert (error.reason, error.violations[0].field) == (Reason.CONTEXT_LENGTH_EXCEEDED, field)


async def test_a_generator_does_not_rank(mesh: Mesh) -> None:
    request = pb.RerankRequest(model="writer", query="north", documents=["east"])
    assert (await refusal(mesh.stub.Rerank(request))).reason == Reason.TASK_UNSUPPORTED
