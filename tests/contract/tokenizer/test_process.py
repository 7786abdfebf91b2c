"""`python -m services.tokenizer`: the process as platforms start and stop it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from tests.free_ports import free_ports
from tests.real_models import EMBEDDER, store

NAME = "trunkline.tokenizer.v1.TokenizerService"


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the tokenizer until the block ends."""
    cache = str(store()._root)
    settings = {"TRUNKLINE_MONITOR": "", "TRUNKLINE_CACHE": cache, **environment}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.tokenizer",
        env={**os.environ, **settings},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def serving(channel: grpc.aio.Channel, deadline: float = 60) -> None:
    """Return when health says SERVING."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(service=NAME), wait_for_ready=True, timeout=deadline
    )
    async for answer in watch:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            watch.cancel()
            return


async def test_it_serves_and_stops_on_a_signal() -> None:
    [port] = free_ports(1)
    async with process(TRUNKLINE_LISTEN=f"127.0.0.1:{port}", TRUNKLINE_MODELS=EMBEDDER) as child:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await serving(channel)
            request = pb.EncodeRequest(model=EMBEDDER, inputs=[pb.EncodeInput(text="hello")])
            assert list((await TokenizerServiceStub(channel).Encode(request)).encodings[0].ids) == [
                101,
                7592,
                102,
            ]
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await child.wait() == 0


async def test_a_slow_download_holds_up_neither_the_others_nor_the_end(tmp_path: Path) -> None:
    """An index that accepts a connection and never answers is as slow as one gets."""
    [port] = free_ports(1)
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as index:
        url = f"http://127.0.0.1:{index.sockets[0].getsockname()[1]}/simple"
        catalogue = tmp_path / "catalogue.toml"
        catalogue.write_text('[[model]]\nname = "slow"\ntask = "embed"\nsource = "pypi://slow==1.0/x"\n')
        async with process(
            TRUNKLINE_LISTEN=f"127.0.0.1:{port}",
            TRUNKLINE_MODELS=f"slow,{EMBEDDER}",
            TRUNKLINE_CATALOGUE=str(catalogue),
            PIP_INDEX_URL=url,
            PIP_EXTRA_INDEX_URL="",
            PIP_NO_INDEX="",
        ) as child:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await serving(channel)
                stub = TokenizerServiceStub(channel)
                request = pb.EncodeRequest(model=EMBEDDER, inputs=[pb.EncodeInput(text="hello")])
                assert (await stub.Encode(request)).encodings
                with pytest.raises(grpc.aio.AioRpcError) as late:
                    await stub.Encode(pb.EncodeRequest(model="slow", inputs=request.inputs), timeout=0.3)
                assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            async with asyncio.timeout(60):
                await asked.wait()
                assert not hung_up.is_set()
                child.send_signal(signal.SIGTERM)
                assert await child.wait() == 0
                await hung_up.wait()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"TRUNKLINE_MODELS": "none"}, "TRUNKLINE_MODELS cannot be used: No model is named 'none'"),
        ({"TRUNKLINE_CATALOGUE": "/no/such.toml"}, "TRUNKLINE_CATALOGUE names /no/such.toml"),
        ({"TRUNKLINE_TOKENIZER_THREADS": "0"}, "TRUNKLINE_TOKENIZER_THREADS must be at least 1"),
        ({"TRUNKLINE_DRAIN_S": "soon"}, "TRUNKLINE_DRAIN_S must be a number"),
    ],
)
async def test_settings_that_cannot_be_used_end_it_with_a_sentence(
    environment: dict[str, str], sentence: str
) -> None:
    async with process(**environment) as child:
        async with asyncio.timeout(60):
            _, said = await child.communicate()
    assert child.returncode == 1
    assert sentence in said.decode()
    assert "Traceback" not in said.decode()
