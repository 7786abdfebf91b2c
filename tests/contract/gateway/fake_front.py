"""A front without a mesh behind it: a process that can be killed, and answers out of hand."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)

from services.kit.errors import NotFound, Reason
from services.kit.server import Server
from services.kit.telemetry import Telemetry

SERVICE = "trunkline.inference.v1.InferenceService"
PAUSE_SECONDS = 0.02


class FakeFront(InferenceServiceServicer):
    """Streams `max_tokens` texts with its process id in them, one every PAUSE_SECONDS; knows one model."""

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        for _ in range(request.max_tokens):
            yield pb.GenerateResponse(delta=pb.GenerateResponse.Delta(text=str(os.getpid())))
            await asyncio.sleep(PAUSE_SECONDS)
        yield pb.GenerateResponse(finish=pb.GenerateResponse.Finish())

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        values = [float(len(text)) for text in request.texts]
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=values)], model_version=str(os.getpid()))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[pb.Model(name="here")])

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        raise NotFound(Reason.MODEL_NOT_FOUND, "only here is here", metadata={"model": request.model})


async def main() -> None:
    """Serve until told to stop."""
    server = Server(os.environ["TRUNKLINE_LISTEN"], Telemetry.disabled())
    server.add(SERVICE, add_InferenceServiceServicer_to_server, FakeFront())
    await server.run()


if __name__ == "__main__":
    asyncio.run(main())
