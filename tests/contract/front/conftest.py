"""A front between doubles."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.front import workers
from tests.contract.front.mesh import Mesh, running_mesh
from tests.contract.front.worker_double import WorkerDouble


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is up reports, however slow the machine."""
    monkeypatch.setattr(workers, "REPORT_S", 20.0)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    """A front with one worker."""
    async with running_mesh(WorkerDouble()) as found:
        yield found


@pytest.fixture
async def pair() -> AsyncIterator[Mesh]:
    """A front with two workers."""
    async with running_mesh(WorkerDouble(), WorkerDouble()) as found:
        yield found
