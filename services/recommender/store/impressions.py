"""What was shown to whom, under which recommendation_id, so that what happens next can be attributed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.recommender.entities import Event
from services.recommender.store.database import Database


@dataclass(frozen=True, slots=True)
class Impression:
    """A list that was shown."""

    recommendation_id: str
    rows: tuple[int, ...]
    """Of the items, in the order shown."""
    sources: tuple[str, ...]
    """Aligned with `rows`."""
    user_id: str = ""
    session_id: str = ""
    timestamp: float = 0.0
    scenario: str = ""
    experiment: str = ""
    variant: str = ""
    version: str = ""
    """Of the model; empty: none."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which place of which list an event came from."""

    impression: Impression
    position: int
    """From 1; 0: the item was not in the list."""
    source: str
    """Empty where the item was not in the list."""


class Impressions:
    """The lists shown of late in memory, all of them in the database. Belongs to one event loop."""

    def __init__(self, database: Database, *, kept: int = 50_000) -> None:
        """Keep the last `kept` lists in memory."""

    def record(self, impression: Impression) -> None:
        """Keep what was shown. Returns at once; it is durable a moment later, with the next commit."""
        raise NotImplementedError

    async def get(self, recommendation_id: str) -> Impression | None:
        """Return the list, None where it was not recorded."""
        raise NotImplementedError

    async def attribute(self, events: Sequence[Event], rows: Sequence[int]) -> list[Attribution | None]:
        """Return where each event came from, in order; None without a recommendation_id that is known."""
        raise NotImplementedError

    async def shown(self, user_id: str, since: float) -> Counter[int]:
        """Return how often each row was shown to the user since then (Unix seconds)."""
        raise NotImplementedError

    def replay(self, *, since: float = 0.0, batch: int = 1_000) -> AsyncIterator[Sequence[Impression]]:
        """Yield all lists shown since then, in order of time."""
        raise NotImplementedError

    async def prune(self, before: float) -> int:
        """Delete what was shown before then (Unix seconds) and return how many lists that were."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Return when all that was recorded is durable."""
        raise NotImplementedError
