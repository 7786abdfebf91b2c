"""InferenceService over gRPC: decode, one call of the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceServicer

from gateway.front.embedding import Embedding
from gateway.front.generation import Generation
from gateway.front.messages import (
    embed_call,
    embed_response,
    generate_call,
    generate_response,
    model,
    rerank_call,
    rerank_response,
)
from gateway.front.reranking import Reranking
from gateway.front.routes import Routes
from services.kit.names import check_name
from services.kit.paging import page


class InferenceServicer(InferenceServiceServicer):
    """Text in, text and vectors out."""

    def __init__(
        self, routes: Routes, generation: Generation, embedding: Embedding, reranking: Reranking
    ) -> None:
        self._routes = routes
        self._generation = generation
        self._embedding = embedding
        self._reranking = reranking

    async def Generate(
        self, request: pb.GenerateRequest, _context: Any
    ) -> AsyncGenerator[pb.GenerateResponse, None]:
        """Stream an answer."""
        async with aclosing(self._generation.generate(generate_call(request))) as events:
            async for event in events:
                yield generate_response(event)

    async def Embed(self, request: pb.EmbedRequest, _context: Any) -> pb.EmbedResponse:
        """Return vectors."""
        return embed_response(await self._embedding.embed(embed_call(request)))

    async def Rerank(self, request: pb.RerankRequest, _context: Any) -> pb.RerankResponse:
        """Return documents in order."""
        return rerank_response(await self._reranking.rerank(rerank_call(request)))

    async def ListModels(self, request: pb.ListModelsRequest, _context: Any) -> pb.ListModelsResponse:
        """Return a page of the routed models."""
        routes, token = page(
            self._routes.table.models.values(),
            lambda route: route.model,
            request.page_size,
            request.page_token,
        )
        return pb.ListModelsResponse(models=map(model, routes), next_page_token=token)

    async def GetModel(self, request: pb.GetModelRequest, _context: Any) -> pb.GetModelResponse:
        """Return one model."""
        route = self._routes.table.route(check_name("model", request.model))
        return pb.GetModelResponse(model=model(route))
