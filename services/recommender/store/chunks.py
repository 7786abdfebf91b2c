"""Lists cut to what one statement takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

STATEMENT = 1_000
"""Values that one statement compares with."""


def chunks(values: Sequence[T], size: int = STATEMENT) -> Iterator[Sequence[T]]:
    """Yield the values in order, `size` at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
