"""A job: a query with all that is known of who asks, ready to be scored."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Rows, User
from services.recommender.serving.answer import Fallback
from services.recommender.serving.configuration import BOARDS, Scenario
from services.recommender.serving.query import Query, Rules
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Taste


@dataclass(frozen=True, slots=True)
class Job:
    """One list to be made."""

    query: Query
    scenario: Scenario
    taste: Taste
    served: Served | None
    excluded: Rows
    """Rows that are not shown: seen, excluded by id, shown often enough."""
    included: Rows | None
    """The only rows that are shown; None: any."""
    rules: Rules
    """The scenario's and the query's."""
    filters: tuple[str, ...]
    """The scenario's and the query's."""
    experiment: str = ""
    variant: str = ""
    profile: User | None = None
    """What was upserted of the user; asked for only where the history says nothing."""
    begun: float = 0.0
    """When it was ready, in `perf_counter`'s seconds."""
    history_s: float = 0.0
    models: dict[str, float] = field(default_factory=dict)
    """The version's models that the scenario names, with weights."""
    known: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """The version's columns that the history has."""

    @property
    def length(self) -> int:
        """Places to be filled, those passed over too."""
        return self.query.offset + self.query.max_results

    @property
    def personal(self) -> bool:
        """Whether a model can tell something from the history."""
        return len(self.known) > 0 and bool(self.models)

    @property
    def plain(self) -> bool:
        """Whether the best candidates are the list as they stand."""
        return not self.rules and not self.diversity and not self.explore

    @property
    def diversity(self) -> float:
        """MMR's trade."""
        return self.scenario.diversity if self.query.diversity is None else self.query.diversity

    @property
    def explore(self) -> float:
        """The share of places given to chance."""
        return self.scenario.explore if self.query.explore is None else self.query.explore

    @property
    def fresh_slots(self) -> int:
        """Places for fresh items: a fifth of the list at most, none where the caller names the items."""
        return 0 if self.included is not None else min(self.scenario.fresh_slots, self.length // 5)

    @property
    def fallback(self) -> Fallback:
        """Why a list is not personal."""
        if self.personal or not set(self.scenario.sources).difference(BOARDS):
            return ""
        if not (self.query.user_id or self.query.session_id or self.query.session):
            return "not_personal"
        return "no_model" if self.served is None and len(self.taste) else "cold_start"


def in_columns(served: Served | None, rows: Rows) -> NDArray[np.int32]:
    """Return the columns of those rows that have one."""
    if served is None:
        return np.empty(0, np.int32)
    columns = served.columns[rows[rows < len(served.columns)]]
    return columns[columns >= 0]
