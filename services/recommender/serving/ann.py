"""Approximate search: HNSW over a version's vectors (Malkov & Yashunin, 2018), by voyager.

Built aside, before its version serves, and never changed. Its answers are looked through for what may not be
shown; whoever is left with too few is scored exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from voyager import Index, Space

from services.recommender.entities import Floats
from services.recommender.models.model import Model

ABOVE = 200_000
"""Items from which on the index is built: below, one matrix product for all who wait is faster, and exact."""
_LINKS, _BUILD_EFFORT = 16, 200
_ROOM = 64
"""Neighbours beyond those wanted, to be left out."""


@dataclass(frozen=True)
class AnnIndex:
    """The columns with the largest dot products, nearly."""

    name: str
    """The model whose vectors these are."""
    index: Index

    @classmethod
    def build(cls, model: Model) -> AnnIndex | None:
        """Return an index over a model's vectors, None where it has none. Takes seconds to minutes."""
        vectors = model.vectors()
        if vectors is None:
            return None
        index = Index(Space.InnerProduct, vectors.shape[1], M=_LINKS, ef_construction=_BUILD_EFFORT)
        index.add_items(np.ascontiguousarray(vectors, np.float32), np.arange(len(vectors)))
        return cls(model.name, index)

    def search(self, users: Floats, count: int) -> tuple[NDArray[np.intp], Floats]:
        """Return (B, k) columns and dot products of users (B, d), best first; k is `count` or more."""
        wanted = min(count + _ROOM, len(self.index))
        columns, distances = self.index.query(
            np.ascontiguousarray(users, np.float32), wanted, query_ef=max(2 * wanted, _BUILD_EFFORT)
        )
        return np.asarray(columns, np.intp), np.asarray(1.0 - distances, np.float32)


def nearest(
    index: AnnIndex, users: Floats, count: int, banned: list[NDArray[np.int32]], penalty: Floats
) -> tuple[NDArray[np.intp], Floats] | None:
    """Return (B, count) columns and dot products without the banned ones and those with a penalty.

    None where too few are left for somebody.
    """
    longest = max((len(each) for each in banned), default=0)
    columns, values = index.search(users, count + min(longest, 4 * count))
    values = values + penalty[columns]
    for place, each in enumerate(banned):
        values[place, np.isin(columns[place], each)] = -np.inf
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(values, order, axis=1)
    if best.shape[1] < count or not np.isfinite(best).all():
        return None
    return np.take_along_axis(columns, order, axis=1), best
