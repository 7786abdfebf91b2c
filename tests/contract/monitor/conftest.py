"""A monitor of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.kit import otlp
from tests.contract.monitor.house import House, house


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process of the kit reports arrives, however slow the machine: a late send is else dropped."""
    monkeypatch.setattr(otlp, "SEND_TIMEOUT_S", 60.0)
    monkeypatch.setattr("services.kit.telemetry.CLOSE_LIMIT_S", 60.0)


@pytest.fixture
async def monitor() -> AsyncIterator[House]:
    async with house() as running:
        yield running
