"""Filters: which rows of the catalogue an expression finds, all at once.

`category in ["a", "b"] and price < 20 and not hidden`. Names: `category`, `tag`, `item_id`, `timestamp` (Unix
seconds), `age` (seconds since then), `hidden` and attributes. Of several words one is enough:
`"red" in colours` and `colours == "red"` say the same. What an item lacks makes every comparison false, `!=`
and `not in` too.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommender.serving.filter_syntax import (
    All,
    Compare,
    Expression,
    Literal,
    Not,
    Some,
    Within,
    parse,
)
from services.recommender.store.catalogue import Catalogue

Mask = NDArray[np.bool_]

_KEPT = 256
"""Masks that are kept: 25 MB at 100,000 items."""
_ORDERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Filters:
    """Expressions over a catalogue; masks are kept while it does not change. For one event loop."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._masks: OrderedDict[str, tuple[int, Mask]] = OrderedDict()
        self._trees: OrderedDict[str, Expression] = OrderedDict()

    def tree(self, text: str, field: str = "filter") -> Expression:
        """Return the expression's tree, kept for the next time. Raises InvalidArgument as `parse`."""
        tree = self._trees.get(text)
        if tree is None:
            tree = self._trees[text] = parse(text, field)
            if len(self._trees) > _KEPT:
                self._trees.popitem(last=False)
        return tree

    def ages(self, text: str) -> bool:
        """Return whether a filter's answer changes with time alone."""
        return _ages(self.tree(text))

    def mask(self, text: str, now: float, field: str = "filter") -> Mask:
        """Return (rows,) bool, not to be written into. Raises InvalidArgument as `parse`."""
        version = self._catalogue.version
        kept = self._masks.get(text)
        if kept is not None and kept[0] == version:
            return kept[1]
        tree = self.tree(text, field)
        mask = find(tree, self._catalogue, now)
        if not _ages(tree):
            self._masks[text] = (version, mask)
            if len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
        return mask


def find(tree: Expression, catalogue: Catalogue, now: float) -> Mask:
    """Return (rows,) bool: where the expression holds."""
    match tree:
        case Not(term):
            return ~find(term, catalogue, now)
        case All(terms):
            return _joined(np.logical_and, [find(each, catalogue, now) for each in terms])
        case Some(terms):
            return _joined(np.logical_or, [find(each, catalogue, now) for each in terms])
        case Within(name, values, negated):
            found = _any_of(catalogue, name, values, now)
            return _present(catalogue, name) & ~found if negated else found
        case Compare(name, "!=", value):
            return _present(catalogue, name) & ~_equal(catalogue, name, value, now)
        case Compare(name, "==", value):
            return _equal(catalogue, name, value, now)
        case Compare(name, sign, value):
            numbers = _numbers(catalogue, name, now)
            return np.asarray(_ORDERS[sign](numbers, value), dtype=bool)


def _joined(how: np.ufunc, masks: list[Mask]) -> Mask:
    return np.asarray(reduce(how, masks), dtype=bool)


def _any_of(catalogue: Catalogue, name: str, values: tuple[Literal, ...], now: float) -> Mask:
    words = [each for each in values if isinstance(each, str)]
    masks = [_equal(catalogue, name, each, now) for each in values if not isinstance(each, str)]
    if words:
        masks.append(_with_words(catalogue, name, words))
    return _joined(np.logical_or, masks) if masks else _nowhere(catalogue)


def _equal(catalogue: Catalogue, name: str, value: Literal, now: float) -> Mask:
    if isinstance(value, str):
        return _with_words(catalogue, name, [value])
    if isinstance(value, bool):
        return np.asarray(_flags(catalogue, name) == int(value), dtype=bool)
    return np.asarray(_numbers(catalogue, name, now) == value, dtype=bool)


def _with_words(catalogue: Catalogue, name: str, words: list[str]) -> Mask:
    if name == "category":
        return catalogue.categories.any_of(words)
    if name == "tag":
        return catalogue.tags.any_of(words)
    if name == "item_id":
        mask = _nowhere(catalogue)
        rows = catalogue.rows_of(words)
        mask[rows[rows >= 0]] = True
        return mask
    attribute = catalogue.attributes.get(name)
    return _nowhere(catalogue) if attribute is None else attribute.words.any_of(words)


def _numbers(catalogue: Catalogue, name: str, now: float) -> NDArray[np.float64]:
    if name == "timestamp":
        return catalogue.timestamps
    if name == "age":
        return now - catalogue.timestamps
    attribute = catalogue.attributes.get(name)
    return np.full(len(catalogue), np.nan) if attribute is None else attribute.numbers


def _flags(catalogue: Catalogue, name: str) -> NDArray[np.int8]:
    if name == "hidden":  # whatever is hidden is in no list
        return np.zeros(len(catalogue), np.int8)
    attribute = catalogue.attributes.get(name)
    return np.full(len(catalogue), -1, np.int8) if attribute is None else attribute.flags


def _present(catalogue: Catalogue, name: str) -> Mask:
    """Return where items have the attribute."""
    if name in ("item_id", "timestamp", "age"):
        return np.ones(len(catalogue), bool)
    if name in ("category", "tag"):
        words = catalogue.categories if name == "category" else catalogue.tags
        return words.any_of(list(words))
    attribute = catalogue.attributes.get(name)
    if attribute is None:
        return _nowhere(catalogue)
    there = ~np.isnan(attribute.numbers) | (attribute.flags >= 0)
    return np.asarray(there | attribute.words.any_of(list(attribute.words)), dtype=bool)


def _nowhere(catalogue: Catalogue) -> Mask:
    return np.zeros(len(catalogue), bool)


def _ages(tree: Expression) -> bool:
    """Return whether the answer changes while the catalogue does not."""
    match tree:
        case Not(term):
            return _ages(term)
        case All(terms) | Some(terms):
            return any(_ages(each) for each in terms)
        case Within(name) | Compare(name):
            return name == "age"
