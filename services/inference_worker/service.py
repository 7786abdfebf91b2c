"""`trunkline.worker.v1.WorkerService`: decodes, makes one call, encodes."""

# ruff: noqa: ARG002, N802 - gRPC's signatures and names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from trunkline.worker.v1 import worker_pb2 as worker
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceServicer

from services.inference_worker import messages
from services.inference_worker.front_session import FrontSession, Record
from services.inference_worker.inference import Inference
from services.inference_worker.models import Models
from services.inference_worker.session_messages import EMBED, GENERATE, session_orders, session_response
from services.inference_worker.status import Status
from services.kit.deadline import deadline_left
from services.kit.names import check_name
from services.kit.paging import page
from services.kit.rpc import Rpc
from services.kit.telemetry import Telemetry
from services.kit.tracing import server_record


class WorkerService(WorkerServiceServicer):
    """Serves the models of one worker. `draining` is set when its server begins to stop."""

    def __init__(
        self,
        inference: Inference,
        models: Models,
        status: Status,
        telemetry: Telemetry,
        draining: asyncio.Event,
    ) -> None:
        self._inference = inference
        self._models = models
        self._status = status
        self._records = records(telemetry)
        self._draining = draining

    async def Session(
        self, requests: AsyncIterator[worker.SessionRequest], context: Any
    ) -> AsyncIterator[worker.SessionResponse]:
        """Serve one front."""
        session = FrontSession(self._inference, self._records, self._draining)
        async with aclosing(session.serve(session_orders(requests))) as made:
            async for pieces in made:
                yield session_response(pieces)

    async def Generate(
        self, request: worker.GenerateRequest, context: Any
    ) -> AsyncIterator[worker.GenerateResponse]:
        """Stream an answer as it is made."""
        asked = messages.generation_request(request, deadline_left())
        answer = self._inference.generate(asked)
        try:
            async for progress in answer:
                for response in messages.generate_responses(progress):
                    yield response
        finally:
            await answer.aclose()

    async def Embed(self, request: worker.EmbedRequest, context: Any) -> worker.EmbedResponse:
        """Make a vector an input."""
        asked = messages.embedding_request(request, deadline_left())
        return messages.embed_response(await self._inference.embed(asked))

    async def LoadModel(self, request: worker.LoadModelRequest, context: Any) -> worker.LoadModelResponse:
        """Load a model and answer when it is ready."""
        model = await self._models.load(check_name("model", request.model), request.version, request.device)
        return worker.LoadModelResponse(model=messages.model_status(model))

    async def UnloadModel(
        self, request: worker.UnloadModelRequest, context: Any
    ) -> worker.UnloadModelResponse:
        """Take a model off."""
        await self._models.unload(check_name("model", request.model), request.version)
        return worker.UnloadModelResponse()

    async def ListModels(self, request: worker.ListModelsRequest, context: Any) -> worker.ListModelsResponse:
        """List the models by name and version."""
        models, token = page(
            self._models.all(),
            # A space sorts before all that a name may hold, so that the order is by name, then by version.
            lambda model: f"{model.spec.name} {model.spec.version}",
            request.page_size,
            request.page_token,
        )
        return worker.ListModelsResponse(models=map(messages.model_status, models), next_page_token=token)

    async def RestartEngine(
        self, request: worker.RestartEngineRequest, context: Any
    ) -> worker.RestartEngineResponse:
        """Start the engine of a device anew."""
        await self._models.restart_engine(request.device)
        return worker.RestartEngineResponse()

    async def WatchStatus(
        self, request: worker.WatchStatusRequest, context: Any
    ) -> AsyncIterator[worker.WatchStatusResponse]:
        """Stream the worker's state."""
        async for state in self._status.watch():
            yield messages.status_response(state)


def records(telemetry: Telemetry) -> Mapping[str, Record]:
    """Return what is kept of a session's requests: the same as of calls that do the same, by their names."""
    service = "trunkline.worker.v1.WorkerService"
    rpcs = (Rpc(service, GENERATE, False, True), Rpc(service, EMBED, False, False))  # noqa: FBT003 - the kinds
    return {rpc.name: server_record(rpc, telemetry) for rpc in rpcs}
