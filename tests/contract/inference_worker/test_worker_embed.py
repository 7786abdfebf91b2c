"""Embed: a vector an input, and batches that concurrent calls share."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from trunkline.inference.v1.sampling_pb2 import POOLING_CLS, TokenIds
from trunkline.worker.v1.worker_pb2 import EmbedRequest, EmbedResponse

from tests.contract.inference_worker.running_worker import ENCODER, GENERATOR, RunningWorker, failure
from tests.unit.inference_worker.tiny_models import CONTEXT, VOCABULARY, prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def encoder(worker: RunningWorker) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(worker.folder / "bert").eval()


def request(*inputs: list[int], **choices: Any) -> EmbedRequest:
    return EmbedRequest(model=ENCODER, inputs=[TokenIds(ids=each) for each in inputs], **choices)


def vectors(response: EmbedResponse) -> np.ndarray[Any, Any]:
    return np.frombuffer(response.values, "<f4").reshape(-1, response.dimensions)


def pooled(encoder: Any, tokens: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        mean = encoder(torch.tensor([tokens])).last_hidden_state[0].mean(0)
    return np.asarray(mean / mean.norm())


async def test_vectors_of_calls_that_share_batches_equal_mean_pooling(worker: RunningWorker, encoder: Any):
    inputs = [prompt(1 + (n * 37) % 130, seed=n) for n in range(60)]
    calls = [worker.stub.Embed(request(*inputs[start : start + 4])) for start in range(0, 60, 4)]
    answers = await asyncio.gather(*calls)
    got = np.concatenate([vectors(each) for each in answers])
    expected = np.stack([pooled(encoder, each) for each in inputs])
    assert np.abs(got - expected).max() <= 1e-5
    assert sum(each.usage.prompt_tokens for each in answers) == sum(map(len, inputs))


async def test_pooling_scale_and_dimensions_are_as_asked(worker: RunningWorker, encoder: Any):
    asked = request(prompt(9), pooling=POOLING_CLS, normalize=False, dimensions=10)
    response = await worker.stub.Embed(asked)
    with torch.no_grad():
        first = encoder(torch.tensor([prompt(9)])).last_hidden_state[0, 0, :10]
    assert np.abs(vectors(response) - first.numpy()).max() <= 1e-5


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        (request(), "FIELD_INVALID", "inputs"),
        (request(*[[3]] * 2_049), "FIELD_INVALID", "inputs"),
        (request([3], []), "FIELD_INVALID", "inputs[1].ids"),
        (request([VOCABULARY]), "FIELD_INVALID", "inputs[0].ids"),
        (request([3], dimensions=0), "FIELD_INVALID", "dimensions"),
        (request([3], dimensions=65), "FIELD_INVALID", "dimensions"),
        (request([3], pooling=9), "FIELD_INVALID", "pooling"),
        (request([3] * (CONTEXT + 1)), "CONTEXT_LENGTH_EXCEEDED", "inputs[0].ids"),
    ],
)
async def test_what_is_wrong_is_named(worker: RunningWorker, asked: EmbedRequest, reason: str, field: str):
    error = await failure(worker.stub.Embed(asked))
    assert error.reason == reason
    assert [violation.field for violation in error.violations] == [field]


async def test_a_generator_does_not_embed(worker: RunningWorker):
    asked = request([3])
    asked.model = GENERATOR
    error = await failure(worker.stub.Embed(asked))
    assert error.reason == "TASK_UNSUPPORTED"


async def test_a_cancelled_embed_leaves_nothing(worker: RunningWorker):
    call = worker.stub.Embed(request(*[prompt(500, seed=n) for n in range(400)]))
    await worker.until(lambda state: any(model.load.running for model in state.models), within=60)
    call.cancel()
    busy = lambda state: any(model.load.running or model.load.outstanding_tokens for model in state.models)  # noqa: E731
    await worker.until(lambda state: not busy(state), within=60)
