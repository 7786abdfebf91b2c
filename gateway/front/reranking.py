"""Rerank by a bi-encoder: documents ordered by the cosine of their vectors and the query's."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Sequence
from math import sqrt
from operator import mul

from gateway.front.calls import EmbedCall, Pooling, Ranking, RerankCall, Vectors
from gateway.front.embedding import Embedding
from gateway.front.limits import check_rerank, fields_renamed
from services.kit.errors import InvalidArgument

_AT_ONCE = 64


class Reranking:
    """Composes vectors into a ranking."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding

    async def rerank(self, call: RerankCall) -> Ranking:
        """Return the documents nearest to the query first; of equals, the one that was given first.

        Raises as `Embedding.embed`, with the fields of a Rerank request.
        """
        check_rerank(call)
        wanted = EmbedCall(
            call.model,
            texts=(call.query, *call.documents),
            version=call.version,
            pooling=Pooling.MODELS_OWN,
            truncate=call.truncate,
        )
        try:
            vectors = await self._embedding.embed(wanted)
        except InvalidArgument as error:
            raise fields_renamed(error, _name) from error
        scores = await _cosines(vectors)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        chosen = order[: call.max_results]
        return Ranking([(index, scores[index]) for index in chosen], vectors.usage, vectors.version)


async def _cosines(vectors: Vectors) -> list[float]:
    """Return the cosine of each vector and the first one; other calls get their turn meanwhile."""
    rows = _rows(vectors)
    query = next(rows)
    length, scores = _length(query), []
    for row in rows:
        scores.append(_cosine(query, length, row))
        if not len(scores) % _AT_ONCE:
            await asyncio.sleep(0)
    return scores


def _rows(vectors: Vectors) -> Iterator[Sequence[float]]:
    size = vectors.dimensions * 4
    for start in range(0, len(vectors.values), size):
        yield struct.unpack_from(f"<{vectors.dimensions}f", vectors.values, start)


def _cosine(query: Sequence[float], length: float, row: Sequence[float]) -> float:
    lengths = length * _length(row)
    return max(-1.0, min(1.0, sum(map(mul, query, row)) / lengths)) if lengths else 0.0


def _length(row: Sequence[float]) -> float:
    return sqrt(sum(map(mul, row, row)))


def _name(index: int) -> str:
    return f"documents[{index - 1}]" if index else "query"
