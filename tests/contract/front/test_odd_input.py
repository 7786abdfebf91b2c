"""Whatever a request holds, the answer is an answer or a refusal that a caller can understand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import TokenIds

from services.kit.status import from_rpc_error
from tests.contract.front.mesh import running_mesh
from tests.contract.front.worker_double import WorkerDouble

seeded = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}

names = st.sampled_from(["writer", "writer", "embedder", "nobody", "", "A/../b", "é"]) | st.text(max_size=70)
texts = st.text(max_size=20) | st.sampled_from(["", "\x00", "x" * 600, "👩‍👩‍👧‍👦"])
ids = st.lists(st.integers(0, 255) | st.integers(0, 2**32 - 1), max_size=6).map(
    lambda each: TokenIds(ids=each)
)
floats = st.floats(width=32) | st.sampled_from([0.0, 1.0, 100.0, -100.0])
counts = st.integers(0, 2**32 - 1) | st.integers(0, 25)
messages = st.builds(
    pb.ChatMessage, role=st.sampled_from(["user", "wizard", "nobody", "", "x" * 65]), content=texts
)
chats = st.builds(pb.Chat, messages=st.lists(messages, max_size=3), continue_last_message=st.booleans())
NUMBERS = {
    "temperature": floats, "top_p": floats, "min_p": floats, "repetition_penalty": floats,
    "presence_penalty": floats, "frequency_penalty": floats, "top_k": counts, "logprobs": counts,
    "max_tokens": counts, "seed": st.integers(0, 2**64 - 1), "ignore_eos": st.booleans(),
    "model_version": st.text(max_size=3) | st.just("1"),
    "stop": st.lists(st.text(max_size=300), max_size=18), "stop_token_ids": st.lists(counts, max_size=70),
}  # fmt: skip
sources = (
    st.fixed_dictionaries({"prompt": texts})
    | st.fixed_dictionaries({"token_ids": ids})
    | st.fixed_dictionaries({"chat": chats})
    | st.just({})
)
# A few odd fields at a time: with all of them odd, only the first check would ever be reached.
fields = st.sets(st.sampled_from(sorted(NUMBERS)), max_size=3).flatmap(
    lambda chosen: st.fixed_dictionaries({name: NUMBERS[name] for name in chosen})
)
embeds = st.builds(
    lambda odd, **rest: pb.EmbedRequest(**rest, **odd),
    model=st.just("embedder") | names,
    texts=st.lists(texts, max_size=3),
    odd=st.fixed_dictionaries(
        {},
        optional={
            "token_ids": st.lists(ids, max_size=3), "pooling": st.integers(-1, 9), "dimensions": counts,
            "normalize": st.booleans(), "truncate": st.booleans(), "model_version": st.text(max_size=3),
        },
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def stub() -> Iterator[InferenceServiceStub]:
    """A front on a loop of its own: hypothesis calls without one."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    mesh = run(stack.enter_async_context(running_mesh(WorkerDouble())))
    with grpc.insecure_channel(mesh.address) as channel:
        yield InferenceServiceStub(channel)
    run(stack.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def check_refusal(error: grpc.RpcError) -> None:
    """Fail unless a refusal has a right code and a reason, and names the fields that are odd."""
    refused = from_rpc_error(error)
    assert refused.code in REFUSALS
    assert refused.reason != "INTERNAL"
    assert refused.code != "INVALID_ARGUMENT" or refused.violations


@seeded
@given(model=names, source=sources, fields=fields)
def test_generate_answers_or_refuses(
    stub: InferenceServiceStub, model: str, source: dict[str, Any], fields: dict[str, Any]
) -> None:
    try:
        events = list(stub.Generate(pb.GenerateRequest(model=model, **source, **fields), timeout=60))
    except grpc.RpcError as error:
        check_refusal(error)
    else:
        assert events[-1].HasField("finish")


@seeded
@given(request=embeds)
def test_embed_answers_or_refuses(stub: InferenceServiceStub, request: pb.EmbedRequest) -> None:
    try:
        response = stub.Embed(request, timeout=60)
    except grpc.RpcError as error:
        check_refusal(error)
    else:
        assert len(response.embeddings) == len(request.texts) + len(request.token_ids)
