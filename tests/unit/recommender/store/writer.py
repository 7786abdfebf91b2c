"""A process that appends events, several calls at once, and says which of them are stored."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from services.recommender.entities import Event, Preference
from services.recommender.store.store import RecommenderStore, StoreOptions


async def main(url: str, turn: str) -> None:
    options = StoreOptions(url, Path("models"), {"view": Preference()}, follow=False)
    async with await RecommenderStore.open(options) as store:
        await asyncio.gather(*(_append(store, f"{turn}-{task}") for task in range(4)))


async def _append(store: RecommenderStore, name: str) -> None:
    for number in count():
        ids = [f"{name}-{number}-{each}" for each in range(25)]
        await store.log.append([Event(each, "view", f"item-{number % 50}", user_id=name) for each in ids])
        print(*ids, flush=True)  # noqa: T201 - who started it listens


asyncio.run(main(*sys.argv[1:]))
