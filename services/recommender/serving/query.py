"""What can be asked for: lists for users and sessions, neighbours of items, orders, leaderboards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from services.recommender.entities import Event

MAX_RESULTS = 1_000
"""The longest list that is made, `offset` included."""

By = Literal["blend", "interactions", "content"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Which items a user has seen already, so that they are left out."""

    exclude: bool = True
    types: tuple[str, ...] = ()
    """Event types that count; empty: those whose preference marks them as seen."""
    window_s: float = 0.0
    """How far back events count; 0: ever."""


@dataclass(frozen=True, slots=True)
class Pin:
    """An item that stands at a position whatever its score, if it is servable and passes the filter."""

    item_id: str
    position: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Boost:
    """Raises, or buries, the items that an expression finds."""

    filter: str
    by: float
    """Added to the score; the scores of a z-score blend are in standard deviations."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many items of a list an expression may, or must, find."""

    filter: str
    at_least: int = 0
    """Kept where that many servable candidates exist."""
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many items of a list share a value of an attribute."""

    attribute: str
    """`category`, `tag` or an attribute's name; items without it are not capped."""
    at_most: int


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """Leaves out what was shown to the user often enough of late, by recorded impressions."""

    times: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What a product decides over the scores' heads; those of a query are added to those of its scenario."""

    pins: tuple[Pin, ...] = ()
    boosts: tuple[Boost, ...] = ()
    quotas: tuple[Quota, ...] = ()
    caps: tuple[Cap, ...] = ()
    frequency: FrequencyCap | None = None

    def __bool__(self) -> bool:
        return bool(self.pins or self.boosts or self.quotas or self.caps or self.frequency)


@dataclass(frozen=True, slots=True)
class Query:
    """A list for a user, or for a session where there is no user (or for nobody: then it is not personal)."""

    user_id: str = ""
    session_id: str = ""
    """The events that were recorded for it count, together with `session`."""
    session: tuple[Event, ...] = ()
    """Events that are recorded nowhere, oldest first. Items that do not exist are passed over."""
    scenario: str = ""
    """Empty: the default one."""
    max_results: int = 10
    offset: int = 0
    """How many of the best are passed over."""
    filter: str = ""
    """An expression (`filters.py`) that every item of the list, pins too, fulfils."""
    include_item_ids: tuple[str, ...] = ()
    """Not empty: only these."""
    exclude_item_ids: tuple[str, ...] = ()
    seen: Seen | None = None
    """None: the scenario's."""
    rules: Rules = field(default_factory=Rules)
    diversity: float | None = None
    """MMR's trade: 0 relevance alone, to 1 difference alone. None: the scenario's."""
    explore: float | None = None
    """The share of places, 0 to 1, that are given to chance among the candidates. None: the scenario's."""
    seed: int | None = None
    """Makes chance repeatable. None: another each time."""
    explain: bool = False
    record_impression: bool = False
    """Keep what was shown, so that later events are attributed to it and frequency caps count it."""
    variant: str = ""
    """Use this variant of the scenario's experiment whatever the assignment says."""


@dataclass(frozen=True, slots=True)
class SimilarQuery:
    """The items most like given ones."""

    item_ids: tuple[str, ...]
    """One item, or a basket: the mean of their likeness counts."""
    by: By = "blend"
    max_results: int = 10
    filter: str = ""
    explain: bool = False


@dataclass(frozen=True, slots=True)
class RankQuery:
    """An order of given items for a user or a session; nothing is left out that is servable."""

    item_ids: tuple[str, ...]
    user_id: str = ""
    session_id: str = ""
    session: tuple[Event, ...] = ()
    scenario: str = ""
    explain: bool = False


@dataclass(frozen=True, slots=True)
class PopularQuery:
    """What most people chose."""

    half_life_s: float = 0.0
    """How fast old events fade; the nearest that is counted is taken. 0: the longest."""
    trending: bool = False
    """Order by how much more is chosen now than usually."""
    category: str = ""
    max_results: int = 10
    filter: str = ""


@dataclass(frozen=True, slots=True)
class LatestQuery:
    """What appeared last, by the items' timestamps."""

    category: str = ""
    max_results: int = 10
    filter: str = ""
