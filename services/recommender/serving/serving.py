"""Everything that serving needs, made and wired in one place; what the service's handlers call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from scipy.sparse import issparse

from services.kit.bandit import Bandit
from services.recommender.models.item_item import ItemItem
from services.recommender.models.model import Model
from services.recommender.models.version_files import read_version
from services.recommender.serving.ann import ABOVE, AnnIndex
from services.recommender.serving.arranger import Arranger
from services.recommender.serving.availability import Availability
from services.recommender.serving.batches import ScoringThread
from services.recommender.serving.boards import Boards
from services.recommender.serving.configuration import Configuration
from services.recommender.serving.content_index import ContentIndex
from services.recommender.serving.experiments import Experiments
from services.recommender.serving.explanation import Explainer
from services.recommender.serving.exploration import Exploration
from services.recommender.serving.filters import Filters
from services.recommender.serving.fresh import Fresh
from services.recommender.serving.neighbours import Neighbours
from services.recommender.serving.online_metrics import OnlineMetrics
from services.recommender.serving.pipeline import Pipeline
from services.recommender.serving.preparation import Preparation
from services.recommender.serving.recommender import Recommender
from services.recommender.serving.retraining import Retraining, TrainingSettings
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Tastes
from services.recommender.serving.versions import Versions
from services.recommender.serving.watch import Watch
from services.recommender.store.registry import Registry, Version
from services.recommender.store.store import RecommenderStore

_DENSE_ITEMS = 4_096
"""Up to here a matrix of items by items takes at most 64 MB."""


class Serving:
    """The parts, wired. Made in a running event loop; `async with` loads the newest version and ends them."""

    def __init__(
        self,
        store: RecommenderStore,
        configuration: Configuration,
        *,
        database: str,
        clock: Callable[[], float] = time.time,
        bandit: Bandit | None = None,
    ) -> None:
        """Serve from `store`; `database` is its URL, which a training's process opens too."""
        self._store = store
        self._thread = ScoringThread()
        self._tasks: list[asyncio.Task[None]] = []
        catalogue, conversions = store.catalogue, configuration.conversions
        available = Availability(catalogue, Filters(catalogue), clock)
        boards = Boards(catalogue, store.popularity, clock)
        content = ContentIndex(catalogue)
        explainer = Explainer(catalogue, content)
        self._exploration = Exploration(bandit)
        self._tastes = Tastes(configuration.preferences)
        self.versions = Versions(store.registry, lambda version: _load(store.registry, version))
        arranger = Arranger(catalogue, available, boards, content, Fresh(catalogue, content, clock))
        self.recommender = Recommender(
            store,
            lambda: self.versions.served,
            Preparation(store, configuration.scenarios, self._tastes, available.filters, clock),
            Pipeline(available, boards, arranger, self._thread),
            tastes=self._tastes,
            available=available,
            boards=boards,
            neighbours=Neighbours(catalogue, available, content, explainer),
            explainer=explainer,
            exploration=self._exploration,
            clock=clock,
        )
        self.online = OnlineMetrics(store, conversions)
        self.experiments = Experiments(store, configuration.scenarios, conversions)
        self.watch = Watch(self.recommender.recommend)
        settings = TrainingSettings(database, configuration.preferences)
        self.retraining = Retraining(store, self.versions, self.online, settings, clock=clock)
        self._wire()

    def _wire(self) -> None:
        self._store.log.listen(self.watch.record)
        self._store.log.listen(self._exploration.record)
        self._store.log.listen(self.retraining.record)
        self._store.log.listen_removed(lambda removed: self._tastes.forget(*removed.user_ids))
        self._store.catalogue.listen(lambda _change, _rows: self.watch.all())
        self.versions.listen(self.watch.all)

    async def __aenter__(self) -> Self:
        await self.versions.open()
        await self.retraining.open()
        if self._store.database.dialect == "postgresql":
            self._tasks.append(asyncio.create_task(self.versions.follow(), name="versions"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.retraining.close()
        await self.recommender.close()
        self._thread.close()


def _quick(model: Model) -> Model:
    """Return the model with a small sparse matrix made dense, which histories are multiplied with faster."""
    if not isinstance(model, ItemItem) or model.items > _DENSE_ITEMS:
        return model
    weights: Any = model.weights
    return replace(model, weights=weights.toarray()) if issparse(weights) else model


def _load(registry: Registry, version: Version) -> Served:
    """Return a version's models; raises FailedPrecondition (VERSION_UNUSABLE)."""
    stored = read_version(registry.path(version.name))
    weights = stored.manifest.get("weights", {})
    kept = {name: float(weight) for name, weight in weights.items() if name in stored.models}
    large = len(stored.rows) > ABOVE and len(kept) == 1
    return Served(
        version=version.name,
        models={name: _quick(model) for name, model in stored.models.items()},
        weights=kept,
        rows=stored.rows,
        item_ids=tuple(stored.item_ids),
        index=AnnIndex.build(stored.models[next(iter(kept))]) if large else None,
        newest_row=int(version.manifest.get("catalogue_rows", 0)) - 1,
    )
