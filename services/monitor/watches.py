"""Who watches the mesh: a task an address holds its health, and a worker's status, open while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trunkline.worker.v1.worker_pb2 import WatchStatusRequest, WatchStatusResponse
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from services.kit.addresses import Addresses, is_name, lookup
from services.kit.channel import Channels
from services.monitor.roster import Health, Peer, Roster

log = logging.getLogger(__name__)

RECONNECT_S = 0.5
RESOLVE_S = 5.0
# A worker speaks once a second; silence of this length is a worker that is stuck.
STATUS_STALL_S = 5.0

_HEALTH = {
    HealthCheckResponse.SERVING: Health.SERVING,
    HealthCheckResponse.NOT_SERVING: Health.NOT_SERVING,
}


@dataclass(frozen=True)
class Target:
    """Where processes of a service are: `host:port`, or `dns:///name:port` for all addresses of a name."""

    service: str
    target: str
    is_worker: bool = False


class Watches:
    """Keeps the roster as the targets are. `async with` starts and ends the watching.

    A peer that cannot be reached is tried again each RECONNECT_S, a name is looked up again each RESOLVE_S.
    """

    def __init__(self, targets: Sequence[Target], roster: Roster, channels: Channels) -> None:
        self._targets = targets
        self._roster = roster
        self._channels = channels
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(target)) for target in self._targets]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watching. Idempotent."""
        tasks, self._tasks = self._tasks, []
        await _end(tasks)

    async def _follow(self, target: Target) -> None:
        watched: dict[str, asyncio.Task[None]] = {}
        addresses = Addresses([target.target], lookup)
        try:
            while True:
                found = await addresses.resolve()
                for address in watched.keys() - found.keys():
                    await _end([watched.pop(address)])
                    await self._channels.forget(address)
                for address in found.keys() - watched.keys():
                    watched[address] = asyncio.create_task(self._watch(target, address))
                await asyncio.sleep(RESOLVE_S if is_name(target.target) else float("inf"))
        finally:
            await _end(list(watched.values()))

    async def _watch(self, target: Target, address: str) -> None:
        peer = self._roster.add(Peer(target.service, address))
        channel = self._channels.to(address)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_hold(_HealthWatch(peer, channel)))
                if target.is_worker:
                    group.create_task(_hold(_StatusWatch(peer, channel)))
        finally:
            self._roster.remove(peer)


class _Watch(Protocol):
    """A stream of a peer's, and what it says of the peer."""

    stall: float | None
    """Seconds without a message after which the stream counts as lost; None: it speaks of changes only."""

    def open(self) -> Any: ...
    def take(self, message: Any) -> None: ...
    def lost(self, code: grpc.StatusCode) -> None: ...


class _HealthWatch:
    def __init__(self, peer: Peer, channel: grpc.aio.Channel) -> None:
        self.stall: float | None = None
        self._peer = peer
        self._call: Any = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )

    def open(self) -> Any:
        return self._call(HealthCheckRequest())

    def take(self, message: HealthCheckResponse) -> None:
        self._peer.answer = _HEALTH.get(message.status, Health.UNSPECIFIED)

    def lost(self, code: grpc.StatusCode) -> None:
        # Without a health service it is there all the same; how it is nobody knows.
        there = code is grpc.StatusCode.UNIMPLEMENTED
        self._peer.answer = Health.UNSPECIFIED if there else Health.UNREACHABLE


class _StatusWatch:
    def __init__(self, peer: Peer, channel: grpc.aio.Channel) -> None:
        self.stall: float | None = STATUS_STALL_S
        self._peer = peer
        self._stub = WorkerServiceStub(channel)

    def open(self) -> Any:
        return self._stub.WatchStatus(WatchStatusRequest())

    def take(self, message: WatchStatusResponse) -> None:
        self._peer.status, self._peer.instance = message, message.instance_id
        self._peer.silent = False

    def lost(self, _code: grpc.StatusCode) -> None:
        self._peer.silent = True


async def _hold(watch: _Watch) -> None:
    """Take each message of the stream, and open it again whenever it ends, fails or stalls."""
    while True:
        call = watch.open()
        try:
            while (message := await _read(call, watch.stall)) is not grpc.aio.EOF:
                watch.take(message)
            watch.lost(grpc.StatusCode.OK)
        except grpc.aio.AioRpcError as error:
            watch.lost(error.code())
        except TimeoutError:
            watch.lost(grpc.StatusCode.DEADLINE_EXCEEDED)
        except Exception:
            log.exception("a watch failed; it goes on")
            watch.lost(grpc.StatusCode.UNKNOWN)
        finally:
            call.cancel()
        await asyncio.sleep(RECONNECT_S)


async def _read(call: Any, stall: float | None) -> Any:
    async with asyncio.timeout(stall):
        return await call.read()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
