"""When a mesh is ready: its public services serve, and its models are loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trunkline.inference.v1.inference_pb2 import ListModelsRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.worker.v1.worker_pb2 import ModelState, ModelStatus, WatchStatusRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from services.kit.audience import Audience, services
from services.kit.command import CommandError
from services.kit.mesh import owner
from services.kit.transport import client_options

ASK_EVERY_SECONDS = 0.25
ASK_SECONDS = 5.0

Show = Callable[[str, ModelStatus], None]
"""Told each time of a worker's address and what one of its models does."""


async def until_loaded(worker: str, show: Show) -> None:
    """Show what the worker's models do until it is cancelled; raises CommandError when one has failed."""
    async with grpc.aio.insecure_channel(worker, options=client_options()) as channel:
        while True:
            try:
                async for status in WorkerServiceStub(channel).WatchStatus(WatchStatusRequest()):
                    for model in status.models:
                        show(worker, model)
                        _refuse_failure(model)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(ASK_EVERY_SECONDS)  # it is not up yet, or up again soon


async def until_ready(address: str, entries: Collection[str], models: Sequence[str], workers: int) -> None:
    """Return when callers at `address` find a whole mesh.

    That is: the gateway and each public service whose entry of the mesh's table is in `entries` say SERVING,
    and each of `models` is ready on `workers` workers.
    """
    watched = ["", *(name for name in services(Audience.USER) if _started(name, entries))]
    async with grpc.aio.insecure_channel(address, options=client_options()) as channel:
        for name in watched:
            await _until(_serves, channel, name)
        await _until(_lists, channel, models, workers)


def _started(service: str, entries: Collection[str]) -> bool:
    found = owner(service)
    return (found.parent or found.name) in entries


def _refuse_failure(model: ModelStatus) -> None:
    if model.state == ModelState.MODEL_STATE_FAILED:
        said = model.message if model.model in model.message else f"{model.model}: {model.message}"
        raise CommandError(f"A model could not be loaded. {said}")


async def _until(condition: Callable[..., Awaitable[bool]], *of: Any) -> None:
    while True:
        try:
            if await condition(*of):
                return
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(ASK_EVERY_SECONDS)


async def _serves(channel: grpc.aio.Channel, service: str) -> bool:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    answer = await check(HealthCheckRequest(service=service), timeout=ASK_SECONDS)
    return bool(answer.status == HealthCheckResponse.SERVING)


async def _lists(channel: grpc.aio.Channel, models: Sequence[str], workers: int) -> bool:
    stub = InferenceServiceStub(channel)
    listed = await stub.ListModels(ListModelsRequest(page_size=1000), timeout=ASK_SECONDS)
    ready = {model.name: max((v.ready_workers for v in model.versions), default=0) for model in listed.models}
    return all(ready.get(name, 0) >= workers for name in models)
