"""The content of every item, new ones too, as soon as they are upserted: who is like whom by description.

TF-IDF rows of length 1 as in `models.content`, and supplied embeddings; likeness is the sum of both cosines.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, vstack

from services.recommender.entities import Floats, Item
from services.recommender.models.features import BUCKETS, features, hashed
from services.recommender.store.catalogue import Catalogue

_KEPT = 512
"""Rows of likeness that are kept: 200 MB at 100,000 items."""


class ContentIndex:
    """Reads the catalogue when first asked, and what changed since on each question. For one event loop."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._vectors = csr_matrix((0, BUCKETS), dtype=np.float32)
        self._owners = np.empty(0, np.int32)
        self._places = np.empty(0, np.int64)
        self._idf: Floats = np.ones(BUCKETS, np.float32)
        self._built = 0
        self._changed: set[int] = set()
        self._embedded: dict[int, Floats] = {}
        self._similar: OrderedDict[int, Floats] = OrderedDict()
        catalogue.listen(lambda _change, rows: self._changed.update(rows))

    def likeness(self, row: int) -> Floats:
        """Return (rows,) float32: how like each item is to that of `row`; its own entry means nothing."""
        self._refresh()
        kept = self._similar.get(row)
        if kept is None:
            words = self._vectors[self._places[[row]]]
            kept = self._similar[row] = self._like(words, self._embedded.get(row))
            if len(self._similar) > _KEPT:
                self._similar.popitem(last=False)
        return kept

    def between(self, rows: Sequence[int], others: Sequence[int]) -> Floats:
        """Return (rows, others) how like items are to other ones."""
        self._refresh()
        one, other = self._vectors[self._places[list(rows)]], self._vectors[self._places[list(others)]]
        found = np.asarray((one @ other.T).todense(), np.float32)
        if self._embedded:
            for place, row in enumerate(rows):
                found[place] += [self._embedded_likeness(row, each) for each in others]
        return found

    def like(self, item: Item) -> Floats:
        """Return (rows,) float32: how like each item is to a described one that need not exist."""
        self._refresh()
        embedding = np.asarray(item.embedding, np.float32)
        return self._like(self._rows([item]), _unit(embedding) if len(embedding) else None)

    def matched(self, one: int, other: int) -> list[str]:
        """Return what two items' descriptions share, the rarest first."""
        shared = features(self._catalogue.entry(one)).keys() & features(self._catalogue.entry(other)).keys()
        places = {name: int(hashed([{name: 1}]).indices[0]) for name in shared}
        return sorted(shared, key=lambda name: (-float(self._idf[places[name]]), name))

    def _embedded_likeness(self, row: int, other: int) -> float:
        one, two = self._embedded.get(row), self._embedded.get(other)
        return float(one @ two) if one is not None and two is not None and len(one) == len(two) else 0.0

    def _like(self, words: csr_matrix, embedding: Floats | None) -> Floats:
        found = np.zeros(len(self._catalogue), np.float32)
        scores = np.asarray((self._vectors @ words.T).todense(), np.float32).ravel()
        inside = (self._owners >= 0) & (self._owners < len(found))
        found[self._owners[inside]] = scores[inside]
        if embedding is not None:
            for row, other in self._embedded.items():
                if len(other) == len(embedding) and row < len(found):
                    found[row] += float(other @ embedding)
        return found

    def _refresh(self) -> None:
        """Take in what changed; all anew when the catalogue has doubled, so that rarity is right again."""
        size = len(self._catalogue)
        self._changed.update(range(len(self._places), size))
        if size >= 2 * self._built or (self._built == 0 and size):
            self._rebuild(range(size))
        elif self._changed:
            self._append(sorted(self._changed))
        self._changed.clear()

    def _rebuild(self, rows: Sequence[int]) -> None:
        items = [self._catalogue.entry(row) for row in rows]
        counts = hashed([features(item) for item in items])
        spread = np.bincount(counts.indices, minlength=BUCKETS)
        self._idf = np.log1p(len(items) / (1 + spread)).astype(np.float32)
        self._vectors = _unit_rows(counts @ diags(self._idf))
        self._owners = np.arange(len(items), dtype=np.int32)
        self._places = np.arange(len(items))
        self._built = max(len(items), 8)
        self._embed(rows)

    def _append(self, rows: Sequence[int]) -> None:
        # What an item was before stays behind without an owner until the next rebuilding.
        self._owners[np.isin(self._owners, rows)] = -1
        items = [self._catalogue.entry(row) for row in rows]
        begin, missing = len(self._owners), len(self._catalogue) - len(self._places)
        self._places = np.concatenate([self._places, np.zeros(max(missing, 0), np.int64)])
        self._places[list(rows)] = np.arange(begin, begin + len(rows))
        self._vectors = vstack([self._vectors, self._rows(items)], format="csr")
        self._owners = np.concatenate([self._owners, np.array(rows, np.int32)])
        self._embed(rows)
        self._similar.clear()

    def _embed(self, rows: Sequence[int]) -> None:
        for row in rows:
            embedding = self._catalogue.embedding(row)
            self._embedded.pop(row, None)
            if embedding is not None and len(embedding):
                self._embedded[row] = _unit(embedding)

    def _rows(self, items: Sequence[Item]) -> csr_matrix:
        return _unit_rows(hashed([features(item) for item in items]) @ diags(self._idf))


def _unit(vector: NDArray[np.float32]) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(lengths, 1e-12)) @ matrix, dtype=np.float32)
