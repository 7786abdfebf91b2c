"""Everything that is remembered, opened together and wired: new events reach histories and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from services.recommender.entities import Preference
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.counters import HALF_LIVES_S, Popularity
from services.recommender.store.database import Database
from services.recommender.store.event_log import EventLog
from services.recommender.store.experiments import Experiments
from services.recommender.store.histories import Histories, HistoryLimits
from services.recommender.store.impressions import Impressions
from services.recommender.store.registry import Registry
from services.recommender.store.users import Users


@dataclass(frozen=True)
class StoreOptions:
    """How a store is opened."""

    url: str
    """`sqlite:///FILE` or `postgresql://…`."""
    models: Path
    """The folder of model versions."""
    preferences: Mapping[str, Preference]
    histories: HistoryLimits = field(default_factory=HistoryLimits)
    ttl_s: float = 0.0
    """Of items; 0: none."""
    half_lives: tuple[float, ...] = HALF_LIVES_S
    create_items: bool = True
    """Whether an event may name an item that nobody has upserted."""
    follow: bool | None = None
    """Whether to follow what other replicas write; None: on PostgreSQL."""


class RecommenderStore:
    """The parts, open. `async with await RecommenderStore.open(options) as store:` closes them."""

    database: Database
    catalogue: Catalogue
    log: EventLog
    histories: Histories
    popularity: Popularity
    users: Users
    impressions: Impressions
    registry: Registry
    experiments: Experiments

    @classmethod
    async def open(cls, options: StoreOptions) -> RecommenderStore:
        """Open everything; raises as `Database.open`."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits and close. Idempotent."""
        raise NotImplementedError
