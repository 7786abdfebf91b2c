"""The default models, in float32, make what transformers makes of the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from services.inference_worker.engine.conversion import convert
from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.transformers_runner import TransformersRunner
from services.inference_worker.engine.weights import load
from services.inference_worker.preparation import CONVERSION
from services.inference_worker.wire import Embed, Generate, Limits, Sampling
from services.store.catalogue import Catalogue
from services.store.store import Store
from tests.e2e.prose import prose, sentences

pytestmark = pytest.mark.timeout(600)

NEW_TOKENS = 8
PROMPTS = 12


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: two that spin for each other crawl when the cores have other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec_and_store(model: str) -> tuple[Any, Store]:
    folder = os.environ.get("TRUNKLINE_CACHE", Path.home() / ".cache" / "trunkline")
    return Catalogue.read().get(model), Store(Path(folder))


def test_greedy_tokens_equal_transformers_alone_and_together():
    from transformers import AutoModelForCausalLM

    spec, store = spec_and_store("smollm2-135m-instruct")
    folder = store.prepared(
        spec, f"{CONVERSION}-float32", lambda source, into: convert(source, into, "float32")
    )
    ids = Tokenizer.from_file(str(store.tokenizer(spec).path)).encode(prose()[:80_000]).ids
    lengths = np.geomspace(1, 1_500, PROMPTS).round().astype(int).tolist()
    prompts = [ids[number * 1_000 : number * 1_000 + length] for number, length in enumerate(lengths)]
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = [_greedy(reference, prompt) for prompt in prompts]
    del reference

    loaded = load(folder, "generate", "float32", "cpu")
    limits = Limits(cache_tokens=16_384)
    generator = Generator("m", TransformersRunner(loaded, limits.cache_tokens), limits)
    assert [_answers(generator, [prompt])[0] for prompt in prompts] == expected
    assert _answers(generator, prompts) == expected


def _greedy(model: Any, prompt: list[int]) -> list[int]:
    with torch.no_grad():
        out = model.generate(torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False)
    made: list[int] = out[0, len(prompt) :].tolist()
    return made[:-1] if made[-1] == model.generation_config.eos_token_id else made


def _answers(generator: Generator, prompts: list[list[int]]) -> list[list[int]]:
    for number, prompt in enumerate(prompts):
        generator.admit(Generate(number, "m", list(prompt), Sampling(max_tokens=NEW_TOKENS), accepted=0.0))
    made: list[list[int]] = [[] for _ in prompts]
    while generator.busy:
        for output in generator.step().outputs:
            made[output.id] += output.tokens
    return made


def test_embeddings_equal_mean_pooling():
    from transformers import AutoModel

    spec, store = spec_and_store("all-minilm-l6-v2")
    folder = store.fetch(spec)
    tokenizer = Tokenizer.from_file(str(store.tokenizer(spec).path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    inputs = [each.ids for each in tokenizer.encode_batch(list(sentences()[:60]))]
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        means = [reference(torch.tensor([each])).last_hidden_state[0].mean(0) for each in inputs]
    expected = np.stack([(mean / mean.norm()).numpy() for mean in means])

    encoder = Encoder("m", load(folder, "embed", "float32", "cpu"), Limits())
    encoder.admit(Embed(1, "m", inputs, "mean", normalize=True, dimensions=384, accepted=0.0))
    values = b""
    while encoder.busy:
        values += b"".join(output.vectors.values for output in encoder.step().outputs if output.vectors)
    got = np.frombuffer(values, "<f4").reshape(-1, 384)
    assert np.abs(got - expected).max() <= 1e-5
