"""Stores of both kinds: every test of them runs on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from services.rl_policy.store.store import Store
from tests.postgres import cluster, new_database

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Give what makes new databases of one PostgreSQL, and returns their URLs."""
    with cluster() as server:
        yield lambda: new_database(server, f"policies_{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a new database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/policies.db"
    made: Callable[[], str] = request.getfixturevalue("postgres")
    return made()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Give an open store."""
    with Store(url) as opened:
        yield opened
