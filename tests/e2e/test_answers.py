"""What a caller may ask of an answer is whole, from the contract to the engine and back."""

from __future__ import annotations

import math
import secrets
from typing import Any

import grpc
import pytest
from trunkline.inference.v1.inference_pb2 import (
    EmbedRequest,
    GenerateRequest,
    GenerateResponse,
    RerankRequest,
)
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, TokenIds

pytestmark = pytest.mark.timeout(300)

GENERATOR, ENCODER = "smollm2-135m-instruct", "all-minilm-l6-v2"
PROMPT = "The three primary colours are"


async def answer(channel: grpc.aio.Channel, **fields: Any) -> list[GenerateResponse]:
    """Return the events of a greedy answer of 12 tokens to PROMPT, unless `fields` say otherwise."""
    source = {} if "token_ids" in fields else {"prompt": PROMPT}
    asked = {"max_tokens": 12, "temperature": 0, **source} | fields
    stub = InferenceServiceStub(channel)
    return [event async for event in stub.Generate(GenerateRequest(model=GENERATOR, **asked))]


def text(events: list[GenerateResponse]) -> str:
    return "".join(event.delta.text for event in events)


def ids(events: list[GenerateResponse]) -> list[int]:
    return [each for event in events for each in event.delta.token_ids]


async def test_every_token_has_its_log_probability_and_its_rivals(channel: grpc.aio.Channel) -> None:
    events = await answer(channel, logprobs=3)
    told = [each for event in events for each in event.delta.logprobs]
    assert [each.token_id for each in told] == ids(events)
    for each in told:
        tops = [top.logprob for top in each.top]
        assert len(tops) == 3
        assert tops == sorted(tops, reverse=True)
        assert each.token_id == each.top[0].token_id  # greedy takes the likeliest
        assert sum(map(math.exp, tops)) <= 1 + 1e-5


async def test_a_stop_string_is_found_wherever_tokens_part(channel: grpc.aio.Channel) -> None:
    whole = text(await answer(channel, ignore_eos=True))
    middle = len(whole) // 2
    for start, end in ((middle, middle + 3), (middle - 4, middle + 4), (middle, middle + 1)):
        stop = whole[start:end]
        events = await answer(channel, ignore_eos=True, stop=[stop])
        assert text(events) == whole[: whole.index(stop)]
        assert (events[-1].finish.stop, events[-1].finish.reason) == (stop, FINISH_REASON_STOP)


async def test_a_stop_token_ends_an_answer(channel: grpc.aio.Channel) -> None:
    made = ids(await answer(channel, ignore_eos=True))
    events = await answer(channel, ignore_eos=True, stop_token_ids=[made[4]])
    assert ids(events) == made[: made.index(made[4])]
    assert events[-1].finish.reason == FINISH_REASON_STOP


async def test_a_seed_repeats_a_sampled_answer(channel: grpc.aio.Channel) -> None:
    sampled = {"temperature": 1.5, "ignore_eos": True}
    first, again, other = [ids(await answer(channel, seed=seed, **sampled)) for seed in (7, 7, 8)]
    assert first == again != other
    assert ids(await answer(channel, **sampled)) != ids(await answer(channel, **sampled))


async def test_usage_counts_what_came_and_went(channel: grpc.aio.Channel) -> None:
    finish = (await answer(channel, ignore_eos=True))[-1].finish
    assert finish.reason == FINISH_REASON_LENGTH
    assert finish.usage.completion_tokens == 12
    assert finish.usage.prompt_tokens > 3
    assert finish.timings.prefill.ToNanoseconds() > 0


async def test_a_prompt_read_before_comes_from_the_cache_of_its_own_tenant(channel: grpc.aio.Channel) -> None:
    prompt = TokenIds(ids=[1_000 + byte for byte in secrets.token_bytes(100)])

    async def cached(tenant: str) -> int:
        events = await answer(channel, token_ids=prompt, max_tokens=2, tenant=tenant)
        return events[-1].finish.usage.cached_tokens

    assert await cached("acme") == 0
    assert await cached("acme") == 96  # whole blocks of 16
    assert await cached("other") == 0


async def test_documents_are_ranked_by_what_they_say(channel: grpc.aio.Channel) -> None:
    documents = ["The girl is carrying a baby.", "A man is eating pasta.", "A plane takes off."]
    query = "Somebody eats a meal."
    stub = InferenceServiceStub(channel)
    ranking = await stub.Rerank(RerankRequest(model=ENCODER, query=query, documents=documents, max_results=2))
    assert ranking.results[0].index == 1
    assert len(ranking.results) == 2
    vectors = (await stub.Embed(EmbedRequest(model=ENCODER, texts=[query, documents[1]]))).embeddings
    cosine = sum(a * b for a, b in zip(vectors[0].values, vectors[1].values, strict=True))
    assert abs(cosine - ranking.results[0].score) < 1e-4
