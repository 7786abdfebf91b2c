"""Stores of both kinds: every test of them runs on each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from services.recommender.store.store import RecommenderStore, StoreOptions
from tests.postgres import cluster, new_database
from tests.unit.recommender.store.records import PREFERENCES

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Give what makes new databases of one PostgreSQL, and returns their URLs."""
    with cluster() as server:
        yield lambda: new_database(server, f"recommender_{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a new database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/recommender.db"
    made: Callable[[], str] = request.getfixturevalue("postgres")
    return made()


@pytest.fixture
def options(url: str, tmp_path: Path) -> StoreOptions:
    """Give how the store is opened."""
    return StoreOptions(url, tmp_path / "models", PREFERENCES, follow=False)


@pytest.fixture
async def store(options: StoreOptions) -> AsyncIterator[RecommenderStore]:
    """Give an open store."""
    async with await RecommenderStore.open(options) as opened:
        yield opened
