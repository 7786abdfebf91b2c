"""One worker for all contract tests: an engine takes seconds to start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.inference_worker.running_worker import ENCODER, GENERATOR, RunningWorker, running_worker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningWorker]:
    """A worker with both tiny models ready."""
    folder = tmp_path_factory.mktemp("worker")
    async with running_worker(folder, models=(GENERATOR, ENCODER)) as worker:
        await worker.until_ready(GENERATOR, ENCODER, within=110)
        yield worker


@pytest.fixture(scope="session")
def reference(worker: RunningWorker) -> Any:
    """Return the tiny generator as transformers has it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(worker.folder / "llama").eval()
