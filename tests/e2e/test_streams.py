"""Answers through the public port: what a stream looks like, and what a cancel or a deadline frees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from trunkline.inference.v1.inference_pb2 import (
    Chat,
    ChatMessage,
    EmbedRequest,
    GenerateRequest,
    GenerateResponse,
    GetModelRequest,
    ListModelsRequest,
)
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import FINISH_REASON_STOP, TokenIds
from trunkline.worker.v1.worker_pb2 import Load, WatchStatusRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from tests.e2e.harness import RunningMesh

GENERATOR = "smollm2-135m-instruct"
ENCODER = "all-minilm-l6-v2"


def _chat(question: str) -> Chat:
    return Chat(messages=[ChatMessage(role="user", content=question)])


async def test_the_capital_of_france_streams_in_pieces_and_finishes_once(channel: grpc.aio.Channel) -> None:
    request = GenerateRequest(model=GENERATOR, chat=_chat("What is the capital of France?"), temperature=0)
    events = [event async for event in InferenceServiceStub(channel).Generate(request)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds.count("finish") == 1
    assert kinds[-1] == "finish"
    assert len(kinds) > 3
    assert "Paris" in "".join(event.delta.text for event in events)
    assert events[-1].finish.reason == FINISH_REASON_STOP
    assert events[-1].finish.usage.completion_tokens > 3


async def test_related_sentences_lie_closer_than_unrelated_ones(channel: grpc.aio.Channel) -> None:
    texts = ["A man is eating food.", "A man is eating pasta.", "The girl is carrying a baby."]
    answer = await InferenceServiceStub(channel).Embed(EmbedRequest(model=ENCODER, texts=texts))
    food, pasta, baby = (vector.values for vector in answer.embeddings)
    assert _dot(food, pasta) > 0.6
    assert _dot(food, baby) < 0.3


async def test_both_default_models_are_listed_and_described(channel: grpc.aio.Channel) -> None:
    stub = InferenceServiceStub(channel)
    listed = await stub.ListModels(ListModelsRequest())
    assert [model.name for model in listed.models] == [ENCODER, GENERATOR]
    described = await stub.GetModel(GetModelRequest(model=ENCODER))
    assert described.model.dimensions == 384
    assert described.model.versions[0].ready_workers == 1


async def test_a_cancel_after_the_third_token_frees_the_place(
    mesh: RunningMesh, channel: grpc.aio.Channel
) -> None:
    await _cancel_many(mesh, channel, tries=20)


@pytest.mark.soak
async def test_no_place_leaks_over_two_hundred_cancels(mesh: RunningMesh, channel: grpc.aio.Channel) -> None:
    await _cancel_many(mesh, channel, tries=200)


async def _cancel_many(mesh: RunningMesh, channel: grpc.aio.Channel, *, tries: int) -> None:
    """Cancel `tries` endless answers after their third token, four at once; nothing may be left running."""
    stub, places = InferenceServiceStub(channel), asyncio.Semaphore(4)

    async def cancel_one() -> None:
        async with places:
            request = GenerateRequest(
                model=GENERATOR, prompt="Once upon a time", max_tokens=4_000, ignore_eos=True
            )
            call, tokens = stub.Generate(request), 0
            async for event in call:
                tokens += len(event.delta.token_ids)
                if tokens >= 3:
                    call.cancel()
                    return

    await asyncio.gather(*(cancel_one() for _ in range(tries)), return_exceptions=False)
    await _await_idle(mesh)


async def test_a_deadline_of_fifty_milliseconds_ends_and_frees_its_place(
    mesh: RunningMesh, channel: grpc.aio.Channel
) -> None:
    request = GenerateRequest(model=GENERATOR, prompt="Once upon a time", max_tokens=4_000, ignore_eos=True)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for _ in InferenceServiceStub(channel).Generate(request, timeout=0.05):
            pass
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await _await_idle(mesh)


async def test_token_ids_go_in_where_text_would(channel: grpc.aio.Channel) -> None:
    request = GenerateRequest(
        model=GENERATOR, token_ids=TokenIds(ids=[504, 3575, 282, 4649, 314]), max_tokens=4
    )
    events = [event async for event in InferenceServiceStub(channel).Generate(request)]
    assert events[-1].finish.usage.prompt_tokens == 5


async def test_a_seeded_answer_repeats_itself(channel: grpc.aio.Channel) -> None:
    async def answer() -> str:
        request = GenerateRequest(
            model=GENERATOR, chat=_chat("Tell a joke."), seed=7, max_tokens=24, temperature=1, top_k=50
        )
        return "".join([event.delta.text async for event in InferenceServiceStub(channel).Generate(request)])

    assert await answer() == await answer()


async def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(channel: grpc.aio.Channel) -> None:
    request = GenerateRequest(
        model=GENERATOR, chat=_chat("What is the capital of France?"), temperature=0, stop=["Paris"]
    )
    events: list[GenerateResponse] = [
        event async for event in InferenceServiceStub(channel).Generate(request)
    ]
    assert events[-1].finish.stop == "Paris"
    assert events[-1].finish.reason == FINISH_REASON_STOP
    assert "".join(event.delta.text for event in events) == "The capital of France is "


async def _await_idle(mesh: RunningMesh) -> None:
    """Wait until no worker works on anything; fail after a minute."""
    async with asyncio.timeout(60):
        for worker in mesh.workers:
            async for load in _loads(worker):
                if load.running == load.queued == load.outstanding_tokens == 0:
                    assert load.free_cache_tokens == load.cache_tokens
                    break


async def _loads(worker: str) -> AsyncIterator[Load]:
    async with grpc.aio.insecure_channel(worker) as channel:
        watch = WorkerServiceStub(channel).WatchStatus(WatchStatusRequest())
        async for status in watch:
            for model in status.models:
                if model.model == GENERATOR:
                    yield model.load


def _dot(left: object, right: object) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))  # type: ignore[call-overload]
