"""What the public port may say of a service: that it serves, once a call for it would get through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.envoy.data_plane import DataPlane
from services.kit.mesh import owner

# Envoy asks a host that was down four times a second, and may take longer on a busy machine.
LIMIT_S = 5.0

SetServing = Callable[[str, bool], None]

_LOGGER = logging.getLogger(__name__)


class Admission:
    """Passes on that a service does not serve at once, and that it serves when Envoy routes to it.

    `set_serving` is told. Otherwise a caller who waits for health to say SERVING would be refused by Envoy,
    which asks its hosts by itself, a moment later.
    """

    def __init__(self, data_plane: DataPlane, set_serving: SetServing) -> None:
        self._data_plane = data_plane
        self._set_serving = set_serving
        self._pending: dict[str, asyncio.Task[None]] = {}

    def tell(self, service: str, serving: bool) -> None:  # noqa: FBT001 - as kit's health has it
        """Take in that `service` serves or not."""
        pending = self._pending.pop(service, None)
        if pending is not None:
            pending.cancel()
        if serving:
            self._pending[service] = asyncio.create_task(self._admit(service), name=f"admit {service}")
        else:
            self._set_serving(service, False)  # noqa: FBT003 - as kit's health has it

    def close(self) -> None:
        """Pass nothing on any more."""
        for pending in self._pending.values():
            pending.cancel()

    async def _admit(self, service: str) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._data_plane.until_routed(owner(service).name)
        except TimeoutError:
            _LOGGER.warning("Envoy does not find healthy who says so", extra={"service": service})
        self._set_serving(service, True)  # noqa: FBT003 - as kit's health has it
