"""`python -m benchmarks.serving`: answers and vectors through the public port, beside transformers alone.

Both take turns in one run on the same machine, three rounds each, medians reported. Generation: prompts of 64
random tokens, 32 new tokens, greedy, bfloat16 both. Embedding: single-sentence requests through the port
against transformers with padded batches of 32 in order of arrival.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import TokenIds

from gateway.commands.lent_mesh import lent_mesh
from services.kit.command import public_address
from services.kit.settings import read
from services.store.catalogue import Catalogue
from services.store.settings import StoreSettings
from services.store.store import Store

GENERATOR, ENCODER = "smollm2-135m-instruct", "all-minilm-l6-v2"
PROMPT_TOKENS, NEW_TOKENS, SENTENCES, ROUNDS = 64, 32, 256, 3
CONCURRENCY = (1, 8, 32)


@dataclass(frozen=True)
class Row:
    """One line of the table: rates a second, one a round."""

    what: str
    concurrency: int
    ours: list[float]
    theirs: list[float]

    def __str__(self) -> str:
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return f"| {self.what} | {self.concurrency} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |"


class Peer:
    """transformers in this process, as its documentation has it: a padded batch, bfloat16."""

    def __init__(self) -> None:
        import torch
        from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GgufConfig

        settings = read(StoreSettings)
        catalogue, store = Catalogue.read(settings.catalogue), Store(settings.cache)
        generator, encoder = (store.fetch(catalogue.get(name)) for name in (GENERATOR, ENCODER))
        self._torch = torch
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            generator,
            gguf_file=next(generator.glob("*.gguf")).name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        self._encoder: Any = AutoModel.from_pretrained(encoder, dtype=torch.bfloat16)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(encoder)

    def generate(self, prompts: list[list[int]]) -> float:
        """Return the tokens made a second for all prompts as one batch."""
        inputs = self._torch.tensor(prompts)
        began = time.perf_counter()
        self._model.generate(
            inputs,
            attention_mask=self._torch.ones_like(inputs),
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
        return len(prompts) * NEW_TOKENS / (time.perf_counter() - began)

    def embed(self, sentences: list[str], batch: int) -> float:
        """Return the sentences embedded a second, in batches of `batch` in order of arrival."""
        began = time.perf_counter()
        with self._torch.inference_mode():
            for start in range(0, len(sentences), batch):
                inputs = self._tokenizer(sentences[start : start + batch], padding=True, return_tensors="pt")
                mask = inputs.attention_mask[..., None]
                hidden = self._encoder(**inputs).last_hidden_state
                self._torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))
        return len(sentences) / (time.perf_counter() - began)


async def generate(prompts: list[list[int]]) -> float:
    """Return the tokens made a second through the public port, all prompts at once."""

    async def one(stub: InferenceServiceStub, ids: list[int]) -> int:
        request = GenerateRequest(model=GENERATOR, token_ids=TokenIds(ids=ids), max_tokens=NEW_TOKENS)
        request.ignore_eos, request.temperature = True, 0
        return sum([len(event.delta.token_ids) async for event in stub.Generate(request)])

    return await timed(lambda stub: asyncio.gather(*(one(stub, ids) for ids in prompts)))


async def embed(sentences: list[str], concurrency: int) -> float:
    """Return the sentences embedded a second through the public port, one a request."""
    waiting = iter(sentences)

    async def caller(stub: InferenceServiceStub) -> int:
        requests = (EmbedRequest(model=ENCODER, texts=[text]) for text in waiting)
        return sum([len((await stub.Embed(request)).embeddings) for request in requests])

    return await timed(lambda stub: asyncio.gather(*(caller(stub) for _ in range(concurrency))))


async def timed(work: Callable[[Any], Awaitable[list[int]]]) -> float:
    """Return what `work` counts, a second."""
    async with grpc.aio.insecure_channel(public_address()) as channel:
        began = time.perf_counter()
        done = await work(InferenceServiceStub(channel))
        return sum(done) / (time.perf_counter() - began)


def measure(peer: Peer) -> list[Row]:
    """Take turns, ours and theirs, and return the table."""
    numbers = random.Random(11)
    prompts = [numbers.choices(range(1_000, 40_000), k=PROMPT_TOKENS) for _ in range(max(CONCURRENCY))]
    words = [line.split()[0] for line in Path(__file__).read_text().splitlines() if line.split()]
    sentences = [" ".join(numbers.choices(words, k=numbers.randrange(5, 40))) for _ in range(SENTENCES)]
    rows = []
    for count in CONCURRENCY:
        some = prompts[:count]
        turns = [(asyncio.run(generate(some)), peer.generate(some)) for _ in range(ROUNDS)]
        rows.append(Row("generate, tokens/s", count, [a for a, _ in turns], [b for _, b in turns]))
    for count in CONCURRENCY:
        turns = [(asyncio.run(embed(sentences, count)), peer.embed(sentences, 32)) for _ in range(ROUNDS)]
        rows.append(Row("embed, sentences/s", count, [a for a, _ in turns], [b for _, b in turns]))
    return rows


def main() -> None:
    """Measure with the mesh that answers, or one started for it, and print the table."""
    with lent_mesh(quiet=True):
        rows = measure(Peer())
    print("| | at once | Trunkline, public port | transformers, in process | ratio |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(map(str, rows)))


if __name__ == "__main__":
    sys.exit(main())
