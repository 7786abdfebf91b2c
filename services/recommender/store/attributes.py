"""Attributes in columns: what filters compare a whole catalogue with at once.

Masks are (rows,) bool and read only: they may be kept and shared while the catalogue's version stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Value

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class Words:
    """Which rows have which words: categories, tags, and attributes that are text or lists."""

    def __iter__(self) -> Iterator[str]:
        """Yield every word that some row has."""
        raise NotImplementedError

    def of(self, row: int) -> tuple[str, ...]:
        """Return the row's words, in the order given."""
        raise NotImplementedError

    def rows(self, word: str) -> NDArray[np.int32]:
        """Return the rows with this word, ascending."""
        raise NotImplementedError

    def any_of(self, words: Collection[str]) -> Mask:
        """Return where at least one of the words stands."""
        raise NotImplementedError


class Attribute:
    """One named attribute over all rows; each row's value is of one kind, rows may differ in kind."""

    numbers: Numbers
    """(rows,) float64, NaN where the value is no number."""
    words: Words
    """Text is one word, a list several."""
    flags: NDArray[np.int8]
    """(rows,) 1 and 0, -1 where the value is no flag."""

    @property
    def present(self) -> Mask:
        """Where the attribute has any value."""
        raise NotImplementedError

    def equal(self, value: Value) -> Mask:
        """Return where the value is this one: text, number or flag of the same kind, a list with these words."""
        raise NotImplementedError
