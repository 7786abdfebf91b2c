"""Session in front of a real engine: the same answers as call by call, and places that are free again."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.worker.v1 import worker_pb2 as pb

from tests.contract.inference_worker.running_worker import (
    ENCODER,
    RUNNING,
    RunningWorker,
    generate,
    request,
)
from tests.unit.inference_worker.tiny_models import prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def read(call: Any, count: int) -> tuple[dict[int, list[int]], dict[int, pb.SessionEnding]]:
    """Return the tokens of each request, and the next `count` endings."""
    tokens: dict[int, list[int]] = {}
    endings: dict[int, pb.SessionEnding] = {}
    while len(endings) < count:
        message = await call.read()
        assert message is not grpc.aio.EOF
        start = 0
        for each, many in zip(message.ids, message.counts, strict=True):
            tokens.setdefault(each, []).extend(message.token_ids[start : start + many])
            start += many
        assert start == len(message.token_ids)
        endings |= {each.id: each for each in message.endings}
    return tokens, endings


async def test_answers_and_vectors_are_those_of_generate_and_embed(worker: RunningWorker):
    asked = [request(prompt(5 + each, each), max_tokens=8, ignore_eos=True) for each in range(1, 7)]
    embed = pb.EmbedRequest(model=ENCODER, inputs=[TokenIds(ids=prompt(9)), TokenIds(ids=prompt(30))])
    submits = [pb.SessionSubmit(id=each, generate=made) for each, made in enumerate(asked, start=1)]
    call = worker.stub.Session()
    await call.write(pb.SessionRequest(submits=[*submits, pb.SessionSubmit(id=99, embed=embed)]))
    async with asyncio.timeout(100):
        tokens, endings = await read(call, 7)
    expected = [await generate(worker, each) for each in asked]
    assert [tokens[each] for each in range(1, 7)] == [made for made, _ in expected]
    assert [endings[each].finish.reason for each in range(1, 7)] == [finish.reason for _, finish in expected]
    vectors = await worker.stub.Embed(embed)
    assert endings[99].embeddings.dimensions == vectors.dimensions
    assert len(endings[99].embeddings.values) == len(vectors.values)
    call.cancel()


async def test_a_lost_front_leaves_nothing_behind(worker: RunningWorker):
    endless = request(prompt(5), max_tokens=400, ignore_eos=True)
    call = worker.stub.Session()
    submits = [pb.SessionSubmit(id=each, generate=endless) for each in range(1, RUNNING + 5)]
    await call.write(pb.SessionRequest(submits=submits, cancels=[1]))
    await worker.until(lambda state: any(model.load.running for model in state.models), within=60)
    call.cancel()
    await worker.until_idle()
