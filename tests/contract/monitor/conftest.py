"""A monitor of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.monitor.house import House, house


@pytest.fixture
async def monitor() -> AsyncIterator[House]:
    async with house() as running:
        yield running
