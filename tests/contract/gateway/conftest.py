"""A gateway for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import RunningGateway, gateway_settings, running_gateway, workers


@pytest.fixture
async def pair() -> AsyncIterator[list[FakeWorker]]:
    """Two workers: both have `shared`, one `first`, the other `second`."""
    async with workers(("first", "shared"), ("second", "shared")) as found:
        yield found


@pytest.fixture
async def gateway(tmp_path: Path, pair: list[FakeWorker]) -> AsyncIterator[RunningGateway]:
    """A gateway over `pair` that routes to both."""
    settings = gateway_settings(tmp_path, [worker.address for worker in pair])
    async with running_gateway(settings) as running:
        await running.until_answers("first", "w0")
        await running.until_answers("second", "w1")
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_pair() -> AsyncIterator[list[FakeWorker]]:
    """As `pair`, for a whole module."""
    async with workers(("first", "shared"), ("second", "shared")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(
    tmp_path_factory: pytest.TempPathFactory, standing_pair: list[FakeWorker]
) -> AsyncIterator[RunningGateway]:
    """A gateway over `standing_pair`, for a module whose tests leave it as it is."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = gateway_settings(folder, [worker.address for worker in standing_pair])
    async with running_gateway(settings) as running:
        await running.until_answers("first", "w0")
        await running.until_answers("second", "w1")
        yield running
