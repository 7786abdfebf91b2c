"""Attributes in columns: what filters compare a whole catalogue with at once.

Arrays are (rows,); what is returned is read only, and may be kept while the catalogue's version stays.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Value
from services.recommender.store.columns import Growing

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
_NOWHERE: NDArray[np.int32] = np.empty(0, np.int32)


class Words:
    """Which rows have which words: categories, tags, and attributes that are text or lists."""

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self._words: dict[int, tuple[str, ...]] = {}
        self._postings: dict[str, array[int]] = {}
        self._rows: dict[str, NDArray[np.int32]] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield every word that some row has."""
        return iter(self._postings)

    def of(self, row: int) -> tuple[str, ...]:
        """Return the row's words, in the order given."""
        return self._words.get(row, ())

    def rows(self, word: str) -> NDArray[np.int32]:
        """Return the rows with this word, ascending."""
        rows = self._rows.get(word)
        if rows is None:
            posting = self._postings.get(word)
            if posting is None:
                return _NOWHERE
            rows = self._rows[word] = np.sort(np.array(posting, np.int32))
        return rows

    def any_of(self, words: Collection[str]) -> Mask:
        """Return where at least one of the words stands."""
        mask = np.zeros(self._size, bool)
        for word in words:
            mask[self.rows(word)] = True
        return mask

    def grow(self, size: int) -> None:
        """Have at least `size` rows."""
        self._size = max(self._size, size)

    def put(self, row: int, words: tuple[str, ...]) -> None:
        """Give a row these words in place of those that it had."""
        before = self._words.get(row, ())
        if words == before:
            return
        for word in set(before).difference(words):
            self._drop(row, word)
        for word in set(words).difference(before):
            self._postings.setdefault(word, array("i")).append(row)
            self._rows.pop(word, None)
        if words:
            self._words[row] = words
        else:
            del self._words[row]

    def _drop(self, row: int, word: str) -> None:
        posting = self._postings[word]
        posting.remove(row)
        self._rows.pop(word, None)
        if not posting:
            del self._postings[word]


class Attribute:
    """One named attribute over all rows; a row's value is of one kind, rows may differ in kind."""

    def __init__(self, size: int = 0) -> None:
        self._numbers = Growing(np.float64, np.nan, size)
        self._flags = Growing(np.int8, -1, size)
        self.words = Words(size)
        """Text is one word, a list several."""

    @property
    def numbers(self) -> Numbers:
        """(rows,) float64, NaN where the value is no number."""
        return self._numbers.array

    @property
    def flags(self) -> NDArray[np.int8]:
        """(rows,) 1 and 0, -1 where the value is no flag."""
        return self._flags.array

    def grow(self, size: int) -> None:
        """Have at least `size` rows."""
        self._numbers.grow(size)
        self._flags.grow(size)
        self.words.grow(size)

    def put(self, row: int, value: Value | None) -> None:
        """Give a row this value in place of the one that it had; None: none."""
        number, flag = np.nan, -1
        words: tuple[str, ...] = ()
        if isinstance(value, bool):
            flag = int(value)
        elif isinstance(value, int | float):
            number = float(value)
        elif value is not None:
            words = (value,) if isinstance(value, str) else tuple(value)
        self._numbers[row] = number
        self._flags[row] = flag
        self.words.put(row, words)
