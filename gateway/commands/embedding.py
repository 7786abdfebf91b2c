"""Vectors of texts, how alike they are, and how both are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text
from trunkline.inference.v1.inference_pb2 import EmbedRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from gateway.commands.offer import UNARY_SECONDS

TEXTS_A_CALL = 256  # well inside the contract's 2,048, so that a long list gives its first vectors soon
SHOWN_VALUES = 4
SHOWN_LETTERS = 48

Vector = Sequence[float]


@dataclass(frozen=True)
class Embedded:
    """The vectors of texts, one a text."""

    vectors: tuple[Vector, ...]
    prompt_tokens: int
    model_version: str


def embed(stub: InferenceServiceStub, model: str, texts: Sequence[str], **options: object) -> Embedded:
    """Return the vectors of `texts` (at least one), in their order, over as many calls as it takes."""
    answers = [
        stub.Embed(EmbedRequest(model=model, texts=part, **options), timeout=UNARY_SECONDS)  # type: ignore[arg-type]  # the fields that argparse gave
        for part in _parts(texts)
    ]
    vectors = [tuple(each.values) for answer in answers for each in answer.embeddings]
    tokens = sum(answer.usage.prompt_tokens for answer in answers)
    return Embedded(tuple(vectors), tokens, answers[-1].model_version)


def cosine(first: Vector, second: Vector) -> float:
    """Return the cosine of the angle between two vectors, -1 to 1; 0 where one has no length."""
    lengths = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else 0.0


def print_vectors(console: Console, texts: Sequence[str], vectors: Sequence[Vector]) -> None:
    """Print each vector's first values beside its text."""
    for text, vector in zip(texts, vectors, strict=True):
        head = ", ".join(f"{value:+.4f}" for value in vector[:SHOWN_VALUES])
        console.print(Text(f"[{head}, … {len(vector)} values]  {_short(text)}"), soft_wrap=True)


def print_cosines(console: Console, texts: Sequence[str], vectors: Sequence[Vector]) -> None:
    """Print how alike each pair of texts is, as a table."""
    table = Table(title="Cosines", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for number in range(1, len(texts) + 1):
        table.add_column(str(number), justify="right")
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), 1):
        row = [f"{cosine(vector, other):.3f}" for other in vectors]
        table.add_row(Text(f"{number}  {_short(text)}"), *row)
    console.print(table)


def lines(source: Iterable[str]) -> list[str]:
    """Return the lines of `source` that hold something."""
    return [line.rstrip("\n") for line in source if line.strip()]


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), TEXTS_A_CALL):
        yield texts[start : start + TEXTS_A_CALL]


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN_LETTERS else f"{words[: SHOWN_LETTERS - 1]}…"
