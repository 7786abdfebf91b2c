"""The recommender put together from its settings: configuration, store, serving."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kit.bandit import Bandit, PolicyBandit
from services.kit.channel import Channels
from services.kit.telemetry import Telemetry
from services.recommender.service.domain import Domain
from services.recommender.serving.configuration import Configuration
from services.recommender.serving.serving import Serving
from services.recommender.settings import RecommenderSettings
from services.recommender.store.histories import HistoryLimits
from services.recommender.store.store import RecommenderStore, StoreOptions


@asynccontextmanager
async def opened(settings: RecommenderSettings) -> AsyncIterator[Domain]:
    """Open what the rpcs call; raises as `RecommenderStore.open` and `Configuration.read`."""
    configuration = Configuration.read(settings.recommender_configuration)
    settings.folder.mkdir(parents=True, exist_ok=True)
    async with (
        Channels(Telemetry.disabled()) as channels,
        await RecommenderStore.open(_options(settings, configuration)) as store,
        Serving(
            store, configuration, database=settings.database, bandit=_bandit(settings, channels)
        ) as serving,
    ):
        yield Domain(store, serving, configuration.preferences, tuple(sorted(configuration.scenarios)))


def _bandit(settings: RecommenderSettings, channels: Channels) -> Bandit | None:
    if not settings.recommender_slot_policy:
        return None
    channel = channels.to(settings.policies)
    return PolicyBandit(channel, settings.recommender_slot_policy, settings.recommender_slot_limit_s)


def _options(settings: RecommenderSettings, configuration: Configuration) -> StoreOptions:
    return StoreOptions(
        url=settings.database,
        models=settings.models,
        preferences=configuration.preferences,
        histories=HistoryLimits(
            entries=settings.recommender_histories,
            bytes=settings.recommender_history_bytes,
            events=settings.recommender_history_events,
            session_ttl_s=settings.recommender_session_s,
        ),
        ttl_s=settings.recommender_item_ttl_s,
    )
