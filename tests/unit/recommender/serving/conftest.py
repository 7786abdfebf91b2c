"""A world trained once, of which each test gets a copy."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.recommender.serving.worlds import World, opened, populated


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")

    async def train() -> None:
        async with populated(folder) as world:
            await world.train()

    asyncio.run(train())
    return folder


@pytest.fixture
async def world(trained: Path, tmp_path: Path) -> AsyncIterator[World]:
    shutil.copytree(trained, tmp_path / "world")
    async with opened(tmp_path / "world") as copied:
        yield copied
