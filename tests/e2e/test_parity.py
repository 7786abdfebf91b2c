"""What the mesh answers is what transformers answers: same weights, float32, greedy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from services.store.catalogue import Catalogue
from services.store.store import Store
from tests.e2e.prose import prose, sentences

GENERATOR = "smollm2-135m-instruct"
ENCODER = "all-minilm-l6-v2"
SHORT, LONG = (20, 400, 8), (50, 1_500, 32)
"""How many prompts, the longest one's tokens, and those of each answer."""


@dataclass(frozen=True)
class Case:
    """A prompt and what transformers goes on with."""

    prompt: str
    tokens: int
    answer: tuple[int, ...]
    new_tokens: int


@pytest.fixture(scope="module")
def fetched() -> Callable[[str], Path]:
    store = Store(Path(os.environ.get("TRUNKLINE_CACHE", Path.home() / ".cache" / "trunkline")))
    catalogue = Catalogue.read(None)
    return cache(lambda model: store.fetch(catalogue.get(model)))


@pytest.fixture(scope="module", params=[SHORT, pytest.param(LONG, marks=pytest.mark.soak)])
def cases(fetched: Callable[[str], Path], request: pytest.FixtureRequest) -> list[Case]:
    """Prompts from one token on, lengths spread by logarithm, each answered alone by transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = fetched(GENERATOR)
    file = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    prompts, longest, new_tokens = request.param
    made = []
    for index, length in enumerate(np.geomspace(1, longest, prompts).round().astype(int)):
        start = index * 9_000
        prompt = tokenizer.decode(tokenizer(prose()[start : start + 9_000]).input_ids[:length])
        made.append(_answer(model, tokenizer, prompt, new_tokens))
    return made


def _answer(model: Any, tokenizer: Any, prompt: str, new_tokens: int) -> Case:
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False, repetition_penalty=1.0)
    tokens = inputs.input_ids.shape[1]
    answer = out[0, tokens:].tolist()
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    return Case(prompt, tokens, tuple(answer[:-1] if answer[-1] in ends else answer), new_tokens)


async def _generate(stub: Any, case: Case) -> tuple[int, ...]:
    made: list[int] = []
    request = GenerateRequest(model=GENERATOR, prompt=case.prompt, max_tokens=case.new_tokens, temperature=0)
    request.repetition_penalty = 1
    finish = None
    async for event in stub.Generate(request):
        made += event.delta.token_ids
        finish = event.finish
    assert finish is not None
    assert finish.usage.prompt_tokens == case.tokens
    assert finish.usage.completion_tokens >= len(made)
    return tuple(made)


@pytest.mark.timeout(900)
async def test_greedy_tokens_equal_transformers_alone_and_sixteen_at_once(
    channel: grpc.aio.Channel, cases: list[Case]
) -> None:
    stub = InferenceServiceStub(channel)
    assert [await _generate(stub, case) for case in cases] == [case.answer for case in cases]
    places = asyncio.Semaphore(16)

    async def crowded(case: Case) -> tuple[int, ...]:
        async with places:
            return await _generate(stub, case)

    together = await asyncio.gather(*(crowded(case) for case in cases))
    assert together == [case.answer for case in cases]


@pytest.mark.timeout(300)
async def test_embeddings_equal_mean_pooling(
    channel: grpc.aio.Channel, fetched: Callable[[str], Path]
) -> None:
    texts = list(sentences()[:500])
    expected = _mean_pooling(fetched(ENCODER), texts)
    stub = InferenceServiceStub(channel)
    batches = [texts[start : start + 100] for start in range(0, 500, 100)]
    answers = await asyncio.gather(
        *(stub.Embed(EmbedRequest(model=ENCODER, texts=batch)) for batch in batches)
    )
    got = np.array([vector.values for answer in answers for vector in answer.embeddings], dtype=np.float32)
    assert got.shape == expected.shape == (500, 384)
    assert np.abs(got - expected).max() <= 1e-5


def _mean_pooling(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    """Return the mean of each text's last hidden states, scaled to length 1; one text at a time."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder, dtype=torch.float32),
    )
    vectors = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
            mean = model(**inputs).last_hidden_state[0].mean(0)
            vectors.append((mean / mean.norm()).numpy())
    return np.stack(vectors)
