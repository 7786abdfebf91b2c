from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from tests.contract.tokenizer.serving import serving
from tests.real_models import CHAT, EMBEDDER


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub() -> AsyncIterator[TokenizerServiceStub]:
    async with serving(preload=(CHAT, EMBEDDER)) as running:
        yield running.stub
