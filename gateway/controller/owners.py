"""The health of what stands behind the public port, asked of each owner by the standard Health.Watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway.following import Follower
from services.kit.channel import Channels
from services.kit.status import from_rpc_error

SetServing = Callable[[str, bool], None]


class Owners:
    """Watches the owners of services: a service serves while any of its owners says so.

    `owners` holds for each service's full name the addresses that answer it; `set_serving` is told of each
    service at the start and on each change.
    """

    def __init__(
        self, owners: Mapping[str, Sequence[str]], channels: Channels, set_serving: SetServing
    ) -> None:
        self._channels = channels
        self._set_serving = set_serving
        self._serving = {(service, each): False for service, at in owners.items() for each in at}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for service, address in self._serving:
                self._set_serving(service, False)  # noqa: FBT003 - as kit's health has it
                group.create_task(self._follow(service, address), name=f"health of {service} at {address}")

    async def _follow(self, service: str, address: str) -> None:
        def tell(*, serving: bool) -> None:
            before = self._is_serving(service)
            self._serving[service, address] = serving
            if self._is_serving(service) is not before:
                self._set_serving(service, not before)

        await Follower(
            f"health of {service} at {address}",
            lambda: _watch(self._channels.to(address), service),
            lambda serving: tell(serving=serving),
            lambda: tell(serving=False),
        ).run()

    def _is_serving(self, service: str) -> bool:
        return any(serving for (name, _), serving in self._serving.items() if name == service)


async def _watch(channel: grpc.aio.Channel, service: str) -> AsyncGenerator[bool, None]:
    """Yield whether `service` serves, at once and on changes; raises a TrunklineError when that breaks."""
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    stream = watch(HealthCheckRequest(service=service), timeout=None)
    try:
        async for answer in stream:
            yield answer.status == HealthCheckResponse.SERVING
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        stream.cancel()
