"""A front and the real tokenizer service, with the default model's tokenizer."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.sampling_pb2 import TASK_EMBED, TASK_GENERATE, TokenIds
from trunkline.tokenizer.v1.tokenizer_pb2 import EncodeInput, EncodeRequest
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub
from trunkline.worker.v1.worker_pb2 import GenerateRequest, GenerateResponse

from services.kit.errors import Reason
from tests.contract.front.controller_double import model, routes, version
from tests.contract.front.mesh import Mesh, refusal, running_mesh
from tests.contract.front.worker_double import Served, WorkerDouble, finish
from tests.free_ports import free_ports
from tests.unit.front.vocabularies import real

NAME = "smollm2-135m-instruct"
TEXT = "Il était une fois 🦜🏳️‍🌈 «日本語»:\n\tdef f(): pass  # don't"


@asynccontextmanager
async def tokenizer_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, str, str]]:
    """Yield the process, its address, and the digest of its one tokenizer."""
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    environment = os.environ | {
        "TRUNKLINE_LISTEN": address,
        "TRUNKLINE_MODELS": NAME,
        "TRUNKLINE_MONITOR": "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.tokenizer", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60), grpc.aio.insecure_channel(address) as channel:
            await channel.channel_ready()
            watch = HealthStub(channel).Watch(
                HealthCheckRequest(service="trunkline.tokenizer.v1.TokenizerService")
            )
            while (await watch.read()).status != HealthCheckResponse.SERVING:
                pass
            # Not ListTokenizers, which shows a tokenizer only once it is fetched: this waits for it.
            text = EncodeRequest(model=NAME, inputs=[EncodeInput(text="Oslo")])
            digest = (await TokenizerServiceStub(channel).Encode(text)).tokenizer_digest
        yield process, address, digest
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def says_text(_request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
    for each in real(NAME).encode(TEXT):
        yield GenerateResponse(delta=GenerateResponse.Delta(token_ids=[each]))
    yield finish()


def chat(*roles: str) -> pb.Chat:
    return pb.Chat(messages=[pb.ChatMessage(role=role, content="Where is Oslo?") for role in roles])


async def generate(mesh: Mesh) -> None:
    ids = real(NAME).encode("Where is Oslo?")
    assert (await mesh.generate("Where is Oslo?", model=NAME)).text == TEXT
    assert list(mesh.worker.generates[-1].token_ids) == ids
    assert (await mesh.generate(model=NAME, chat=chat("system", "user"))).text == TEXT
    prompt = real(NAME).vocabulary.decode(mesh.worker.generates[-1].token_ids)
    assert prompt.endswith("assistant\n")
    stopped = await mesh.generate(model=NAME, token_ids=TokenIds(ids=ids), stop=["日本"])
    assert stopped.text == TEXT.partition("日本")[0]


async def test_text_goes_in_and_comes_out_and_the_tokenizers_end_is_told_at_once() -> None:
    worker = WorkerDouble(
        says_text, served=[Served(NAME, vocabulary_size=49_152), Served("unknown", task=TASK_EMBED)]
    )
    async with (
        tokenizer_process() as (process, address, digest),
        running_mesh(worker, tokenizer_at=address) as mesh,
    ):
        await mesh.controller.route(
            routes(
                model(NAME, version("1", 100, worker, digest=digest), task=TASK_GENERATE),
                model("unknown", version("1", 100, worker), task=TASK_EMBED),
            )
        )
        while (await mesh.stub.ListModels(pb.ListModelsRequest())).models[0].name != NAME:
            pass
        await generate(mesh)
        assert (await refusal(mesh.embed("a", model="unknown"))).reason == Reason.TOKENIZER_UNAVAILABLE
        process.kill()
        await process.wait()
        started = monotonic()
        assert (await refusal(mesh.generate("a", model=NAME))).reason == Reason.TOKENIZER_UNAVAILABLE
        assert monotonic() - started < 1
        assert (await mesh.generate(model=NAME, token_ids=TokenIds(ids=[7]))).text == TEXT
