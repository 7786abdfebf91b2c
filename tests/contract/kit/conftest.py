from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.kit.probe import House, house


@pytest.fixture
async def running() -> AsyncIterator[House]:
    async with house() as one:
        yield one
