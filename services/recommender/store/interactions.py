"""Events as a matrix to train from, and as rows to export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from services.recommender.entities import Interactions, Preference
from services.recommender.store.database import Database


@dataclass(frozen=True, slots=True)
class Pair:
    """What one user and one item have to do with each other."""

    user_id: str
    item_id: str
    weight: float
    """The sum of the events' weights by the preferences."""
    timestamp: float
    """Of the latest event."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which events count."""

    since: float = 0.0
    """Seconds; 0: from the first."""
    until: float = 0.0
    """Seconds, exclusive; 0: to the last."""
    sequence: int = 0
    """Events up to this number; 0: all."""


def read_interactions(
    database: Database,
    preferences: Mapping[str, Preference],
    window: Window = Window(),  # noqa: B008 - frozen
) -> tuple[Interactions, int]:
    """Return the matrix and the last sequence number in it; blocks (the training process calls it).

    Users and items are in the order of their first event. An event whose type has no preference, or whose value
    is below the threshold, counts for nothing; a pair whose weights cancel out to 0 has no entry. Times and user ids are
    filled. Deleted items are left out; hidden ones are not.
    """
    raise NotImplementedError


def pairs(
    database: Database,
    preferences: Mapping[str, Preference],
    window: Window = Window(),
    *,
    batch: int = 10_000,  # noqa: B008 - frozen
) -> AsyncIterator[Sequence[Pair]]:
    """Yield all pairs in batches, ordered by user: streamed, whatever the size."""
    raise NotImplementedError
