"""The standard health service: Check, List and Watch per service. A Watch ends when its server drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from services.kit.errors import NotFound, Reason

SERVICE = "grpc.health.v1.Health"


class Health(health_pb2_grpc.HealthServicer):
    """Who serves and who does not; "" is the process as a whole."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {"": True}
        self._changed = asyncio.Event()
        self._stopped = False

    def set_serving(self, service: str, serving: bool) -> None:  # noqa: FBT001 - reads as a sentence
        """Say whether `service` ("": the process) serves; watchers learn of it. After `stop`: no effect."""
        if not self._stopped and self._serving.get(service) is not serving:
            self._serving[service] = serving
            self._wake()

    def is_serving(self, service: str = "") -> bool:
        """Return whether `service` serves; False where nobody said so."""
        return self._serving.get(service, False)

    def stop(self) -> None:
        """Set every service to NOT_SERVING for good, and end the watches once they have said so."""
        self._stopped = True
        self._serving = dict.fromkeys(self._serving, False)
        self._wake()

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:  # noqa: N802, ARG002
        """Answer for one service; NOT_FOUND where it is not known."""
        if request.service not in self._serving:
            raise NotFound(Reason.RPC_NOT_SERVED, f"no service {request.service!r} here")
        return HealthCheckResponse(status=self._status(request.service))

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Answer for all services."""
        statuses = {name: HealthCheckResponse(status=self._status(name)) for name in self._serving}
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]  # newer than its stubs

    async def Watch(  # noqa: N802
        self,
        request: HealthCheckRequest,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[HealthCheckResponse]:
        """Send the status of one service now and whenever it changes; SERVICE_UNKNOWN until it is known."""
        last = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != last:
                last = status
                yield HealthCheckResponse(status=status)
            if self._stopped:
                return
            await changed.wait()

    def _status(self, service: str) -> Any:
        serving = self._serving.get(service)
        if serving is None:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
