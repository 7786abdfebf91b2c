"""What is answered: ranked items, why each is there, and which version, variant and way made the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fallback = Literal["", "cold_start", "not_personal", "no_model"]
"""Why a list is not from the scenario's own personal sources; empty: it is.

cold_start: nothing is known of the user yet; not_personal: nobody was named; no_model: nothing is trained.
"""


@dataclass(frozen=True, slots=True)
class Because:
    """An item of the history that speaks for a recommendation."""

    item_id: str
    weight: float
    """What it adds to the source's score; exact for EASE, item-kNN, transitions and content."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item is in a list."""

    because: tuple[Because, ...] = ()
    """Largest first; empty where the source cannot say."""
    matched: tuple[str, ...] = ()
    """Categories, tags and words that it shares with what the user liked, the weightiest first."""
    text: str = ""
    """A sentence in English."""


@dataclass(slots=True)
class Recommended:
    """One place of a list. Not frozen, since thousands a second are made; nobody changes it."""

    item_id: str
    score: float
    rank: int
    """From 1."""
    source: str
    """The named source that spoke for it most: `ease`, `popular`, `fresh`, `pin`, …"""
    explanation: Explanation | None = None
    row: int = -1
    """Its row in the catalogue."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of an answer went, in seconds."""

    history_s: float = 0.0
    queue_s: float = 0.0
    """Waiting for the batch before."""
    scoring_s: float = 0.0
    """Of the whole batch."""
    rules_s: float = 0.0
    """Rules, diversity and explanations."""


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A list, best first."""

    items: list[Recommended]
    recommendation_id: str
    """What later events name, to be attributed to this list."""
    scenario: str
    model_version: str = ""
    """Empty: nothing is trained yet."""
    experiment: str = ""
    variant: str = ""
    fallback: Fallback = ""
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class SimilarUser:
    """A user whose taste is like another's."""

    user_id: str
    similarity: float
    """A cosine, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The value that a user would give an item."""

    item_id: str
    value: float
    known: bool
    """False: neither the user's history nor the item's says anything; the mean of all is given."""
