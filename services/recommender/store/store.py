"""Everything that is remembered, opened together and wired: new events reach histories and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from services.recommender.entities import Preference
from services.recommender.store.catalogue import Catalogue
from services.recommender.store.counters import HALF_LIVES_S, Popularity
from services.recommender.store.database import Database
from services.recommender.store.documents import Documents
from services.recommender.store.event_log import EventLog
from services.recommender.store.experiments import Experiments
from services.recommender.store.following import Following
from services.recommender.store.histories import Histories, HistoryLimits
from services.recommender.store.impressions import Impressions
from services.recommender.store.registry import Registry
from services.recommender.store.users import Users

WARM_USERS = 1_000
"""Users whose histories are read at the start: those who were active last."""


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


@dataclass(frozen=True)
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
    documents: Documents
    following: Following

    @classmethod
    async def open(cls, options: StoreOptions) -> Self:
        """Open everything; raises as `Database.open`."""
        database = await asyncio.to_thread(Database.open, options.url)
        try:
            store = await cls._over(database, options)
        except BaseException:
            await database.close()
            raise
        follows = database.dialect == "postgresql" if options.follow is None else options.follow
        if follows:
            store.following.start()
        return store

    @classmethod
    async def _over(cls, database: Database, options: StoreOptions) -> Self:
        catalogue = await Catalogue.open(database, ttl_s=options.ttl_s)
        log = EventLog(database, catalogue, create_items=options.create_items)
        await log.open()
        histories = Histories(database, options.histories)
        impressions = Impressions(database)
        popularity = await Popularity.open(database, options.preferences, options.half_lives)
        users = Users(database, log, histories, impressions)
        experiments = await Experiments.open(database)

        async def forget() -> None:
            histories.clear()
            impressions.clear()
            users.clear()
            await popularity.rebuild(database)

        following = Following(database, catalogue, log, forget=forget, refresh=experiments.refresh)
        store = cls(
            database=database,
            catalogue=catalogue,
            log=log,
            histories=histories,
            popularity=popularity,
            users=users,
            impressions=impressions,
            registry=Registry(database, options.models),
            experiments=experiments,
            documents=Documents(database),
            following=following,
        )
        store.wire()
        return store

    def wire(self) -> None:
        """Let what is new in the log and the catalogue reach histories and counters. Called once."""
        self.log.listen(self.histories.record)
        self.log.listen(self.popularity.record)
        self.log.listen_removed(self.histories.removed)
        self.log.listen_removed(self.popularity.removed)
        self.popularity.grow(len(self.catalogue))
        self.catalogue.listen(lambda _, __: self.popularity.grow(len(self.catalogue)))

    async def __aenter__(self) -> Self:
        await self.histories.warm(WARM_USERS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits and close. Idempotent."""
        await self.following.close()
        await self.impressions.flush()
        await self.histories.close()
        await self.database.close()
