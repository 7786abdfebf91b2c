"""A small world to recommend in: films of two genres, viewers of each, a store on SQLite, and serving."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.recommender.entities import Event, Item
from services.recommender.serving.configuration import Configuration
from services.recommender.serving.operations import TrainRequest
from services.recommender.serving.serving import Serving
from services.recommender.store.store import RecommenderStore, StoreOptions

GENRES = ("war", "comedy")
FILMS = 12
"""Of each genre."""
VIEWERS = 20
"""Of each genre."""


@dataclass(frozen=True)
class World:
    """What tests talk to."""

    store: RecommenderStore
    serving: Serving

    async def see(self, user_id: str, *item_ids: str, session_id: str = "") -> None:
        """Record that a user or session viewed items."""
        known = await self.store.log.count()
        await self.store.log.append(
            [
                Event(f"{known}-{place}", "view", item_id, user_id, session_id)
                for place, item_id in enumerate(item_ids)
            ]
        )

    async def train(self, algorithms: Sequence[str] = ("ease", "transitions")) -> str:
        """Train, promote, and return the version."""
        operation = self.serving.retraining.train(TrainRequest(tuple(algorithms)))
        done = await self.serving.retraining.wait(operation.operation_id)
        assert done.state == "succeeded", done.error
        assert done.promoted
        return done.version


def film(genre: str, number: int, **changes: object) -> Item:
    """Return a film; its price is its number."""
    fields = {
        "item_id": f"{genre}-{number}",
        "categories": (genre,),
        "text": f"{genre} story number {number}",
        "attributes": {"price": float(number), "studio": f"studio-{number % 3}"},
        "timestamp": 1_000.0 + number,
    }
    return Item(**{**fields, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def opened(folder: Path, configuration: Configuration | None = None) -> AsyncIterator[World]:
    """Open what lies in `folder`."""
    configuration = configuration or Configuration()
    url = f"sqlite:///{folder / 'events.sqlite'}"
    options = StoreOptions(url, folder / "models", configuration.preferences)
    async with (
        await RecommenderStore.open(options) as store,
        Serving(store, configuration, database=url) as serving,
    ):
        yield World(store, serving)


@asynccontextmanager
async def populated(folder: Path, configuration: Configuration | None = None) -> AsyncIterator[World]:
    """Open a world with films, and viewers each of whom saw half of the films of one genre."""
    async with opened(folder, configuration) as world:
        await world.store.catalogue.upsert(
            [film(genre, number) for genre in GENRES for number in range(FILMS)]
        )
        for genre in GENRES:
            for viewer in range(VIEWERS):
                seen = [f"{genre}-{(viewer + step) % FILMS}" for step in range(FILMS // 2)]
                await world.see(f"{genre}-viewer-{viewer}", *seen)
        yield world
