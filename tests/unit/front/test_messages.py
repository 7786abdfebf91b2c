"""Messages say what the domain says."""

from __future__ import annotations

import struct

import pytest
from trunkline.inference.v1 import inference_pb2 as pb

from gateway.front.calls import GenerateCall, Usage, Vectors
from gateway.front.messages import embed_response, generate_call


@pytest.mark.parametrize("dimensions", [1, 31, 32, 384, 4_096, 70_000])
def test_vectors_keep_every_value(dimensions: int) -> None:
    values = [place * 0.5 - 7 for place in range(2 * dimensions)]
    packed = struct.pack(f"<{len(values)}f", *values)
    response = embed_response(Vectors(packed, dimensions, Usage(3), "1"))
    response = pb.EmbedResponse.FromString(response.SerializeToString())
    assert [list(each.values) for each in response.embeddings] == [values[:dimensions], values[dimensions:]]


def test_unset_fields_are_none_and_zeros_are_zeros() -> None:
    assert generate_call(pb.GenerateRequest(model="m", prompt="")) == GenerateCall("m", "")
    zeros = pb.GenerateRequest(
        model="m", prompt="a", temperature=0, top_k=0, seed=0, logprobs=0, max_tokens=0
    )
    assert generate_call(zeros) == GenerateCall(
        "m", "a", temperature=0, top_k=0, seed=0, logprobs=0, max_tokens=0
    )
    assert generate_call(pb.GenerateRequest(model="m")).source is None
