"""What an item's description says, as named features, and as sparse rows over hashed columns."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix

from services.recommender.entities import Item, Value

BUCKETS = 1 << 18
"""Columns that features are hashed to: a word that training never saw has one too."""
_WORD = re.compile(r"[^\W_]{2,}")


def features(item: Item) -> Counter[str]:
    """Return how often each category, tag, attribute and word occurs, named as people know them."""
    found: Counter[str] = Counter()
    found.update(f"category {each}" for each in item.categories)
    found.update(f"tag {each}" for each in item.tags)
    for name, value in item.attributes.items():
        found.update(_of_attribute(name, value))
    found.update(_WORD.findall(item.text.lower()))
    return found


def hashed(described: Sequence[Mapping[str, int]]) -> csr_matrix:
    """Return (items, BUCKETS) float32 1 + ln(count) of each feature; features that share a column add up."""
    ends = np.zeros(len(described) + 1, np.int64)
    np.cumsum([len(each) for each in described], out=ends[1:])
    columns = [crc32(name.encode()) % BUCKETS for each in described for name in each]
    counts = [1 + math.log(count) for each in described for count in each.values()]
    arrays = (np.array(counts, np.float32), np.array(columns, np.int32), ends)
    matrix = csr_matrix(arrays, shape=(len(described), BUCKETS))
    matrix.sum_duplicates()
    return matrix


def _of_attribute(name: str, value: Value) -> list[str]:
    if isinstance(value, bool):
        return [name] if value else []
    if isinstance(value, float | int):
        # Numbers are alike within half a doubling.
        size = round(2 * math.log2(abs(value))) if value else "zero"
        return [f"{name} near {'-' if value < 0 else ''}{size}"] if math.isfinite(value) else []
    return [f"{name} {each}" for each in ((value,) if isinstance(value, str) else value)]
