from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from trunkline.recommender.v1.models_pb2 import Algorithm, TrainRequest

from tests.contract.recommender.serving import Serving, populate, serving


@pytest_asyncio.fixture
async def recommender(tmp_path: Path) -> AsyncIterator[Serving]:
    """An empty recommender."""
    async with serving(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trained(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """A recommender with films, users and a version that serves."""
    async with serving(tmp_path_factory.mktemp("recommender")) as running:
        await populate(running.stub)
        kinds = ("ease", "ials", "content", "transitions")
        algorithms = [
            Algorithm(kind=kind, parameters={"factors": 8} if kind == "ials" else {}) for kind in kinds
        ]
        answer = await running.stub.Train(
            TrainRequest(request_id="first", algorithms=algorithms, wait=True), timeout=200
        )
        assert answer.training.promoted, answer
        yield running
