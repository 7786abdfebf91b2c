"""What the recommender speaks of: items, users, events, and histories as arrays.

A *row* is an item's dense index in the catalogue: given once, never reused, the same in every replica.
Times are Unix seconds; 0 means none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Value: TypeAlias = str | float | bool | tuple[str, ...]
"""An attribute: a word, a number, a flag or a list of words."""
Rows: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Times: TypeAlias = NDArray[np.float64]

_NONE: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be recommended."""

    item_id: str
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    text: str = ""
    attributes: Mapping[str, Value] = field(default_factory=lambda: _NONE)
    embedding: tuple[float, ...] = ()
    """Supplied by the caller; empty: content is read from text, tags, categories and attributes."""
    timestamp: float = 0.0
    """When it appeared."""
    valid_from: float = 0.0
    valid_until: float = 0.0
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """Somebody to recommend to. Users of whom only events are known have no attributes."""

    user_id: str
    attributes: Mapping[str, Value] = field(default_factory=lambda: _NONE)
    tags: tuple[str, ...] = ()
    embedding: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user, or an anonymous session, did with an item."""

    event_id: str
    event_type: str
    item_id: str
    user_id: str = ""
    session_id: str = ""
    value: float = 1.0
    timestamp: float = 0.0
    recommendation_id: str = ""
    position: int = 0
    """The rank at which the item was shown, from 1; 0: unknown."""
    impressions: tuple[str, ...] = ()
    """The items that were shown beside it."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What an event of one type says about taste."""

    weight: float = 1.0
    """How much it counts; below 0: dislike."""
    threshold: float = 0.0
    """Values below it say nothing."""
    by_value: bool = False
    """Multiply the weight with the event's value."""
    marks_seen: bool = True
    """Whether its item is left out where seen items are."""


@dataclass(frozen=True, slots=True)
class History:
    """The latest events of one user or session, oldest first; arrays of equal length."""

    rows: Rows
    types: tuple[str, ...]
    values: Floats
    times: Times

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.types) == len(self.values) == len(self.times):
            raise ValueError("the arrays of a history must be equally long")

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Interactions:
    """A matrix of users by items to train from: weights, and the time of the latest event of each pair."""

    matrix: csr_matrix
    """(users, items) float32, weights by the preferences."""
    item_ids: Sequence[str]
    """Of the columns."""
    rows: Rows
    """The catalogue's rows of the columns."""
    user_ids: Sequence[str] = ()
    """Of the matrix's rows; empty where nobody needs them."""
    times: Times = field(default_factory=lambda: np.empty(0))
    """Aligned with `matrix.data`; empty where nobody needs them."""

    def __post_init__(self) -> None:
        if self.matrix.shape[1] != len(self.item_ids) or len(self.item_ids) != len(self.rows):
            raise ValueError("a column of interactions needs its item and its row")
