"""The server that every process of the mesh runs: health, reflection, telemetry, errors, a clean stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc

from services.kit import reflection
from services.kit.deadline import within_deadline
from services.kit.drain import UNWIND_S, Drain
from services.kit.failure import answered
from services.kit.handler import Layer, Registrar, refusal
from services.kit.health import SERVICE as HEALTH
from services.kit.health import Health
from services.kit.telemetry import Telemetry
from services.kit.tracing import traced
from services.kit.transport import server_options

Callback = Callable[[], Awaitable[None]]

SAME_SIGNAL_S = 0.5
"""Signals closer than this are one: `timeout` and some shells send theirs to the process and to its group."""

_LOGGER = logging.getLogger(__name__)


class ListenError(SystemExit):
    """The address cannot be listened on. Uncaught, its sentence ends the process."""


class Server:
    """A gRPC server on one address (`host:port`, port 0: any; or `unix:path`).

    Life: `add` services, `start`, serve, `stop`. `run` does the last three, for a `__main__`; leaving an
    `async with` stops. Stopping goes in this order: health says NOT_SERVING and `lame_duck` seconds pass, so
    that balancers look elsewhere; `draining` is set and watches end; nothing new is accepted while calls in
    flight get `grace` seconds; callbacks of `on_stop` run, first to last. Channels and telemetry are closed
    after it by who made them.
    """

    def __init__(
        self, address: str, telemetry: Telemetry, *, grace: float = 10.0, lame_duck: float = 0.0
    ) -> None:
        self.health = Health()
        self._address = address
        self._grace = grace
        self._lame_duck = lame_duck
        self._drain = Drain()
        self._server = grpc.aio.server(options=server_options())
        self._plain: tuple[Layer, ...] = (answered, self._drain.tracked)
        self._layers: tuple[Layer, ...] = (traced(telemetry), *self._plain, within_deadline)
        self._services: list[str] = []
        self._callbacks: list[Callback] = []
        self._stop_wanted = asyncio.Event()
        self._in_a_hurry = asyncio.Event()
        self._hurry_from = 0.0
        self._stopping: asyncio.Task[None] | None = None
        self._started = False
        self._add_plain(HEALTH, health_pb2_grpc.add_HealthServicer_to_server, self.health)

    @property
    def draining(self) -> asyncio.Event:
        """Set when the server begins to stop: streams that only watch end when it is."""
        return self._drain.draining

    def add(
        self,
        service: str | ServiceDescriptor,
        add_to_server: Callable[[Any, Any], None],
        servicer: object,
        *,
        serving: bool = True,
    ) -> None:
        """Answer `service` by `servicer`; health (`serving` at first) and reflection know it too.

        `add_to_server` is the generated `add_…Servicer_to_server`. Before `start` only.
        """
        name = service if isinstance(service, str) else service.full_name
        infrastructure = name.startswith("opentelemetry.")
        # OTLP is not itself observed: each export would be a span to export.
        layers = (*self._plain, within_deadline) if infrastructure else self._layers
        add_to_server(servicer, Registrar(self._server, layers))
        self._services.append(name)
        self.health.set_serving(name, serving)

    def reflect(self, *services: str) -> None:
        """List and describe `services` that others implement; calls to them are for others to route."""
        self._services.extend(services)

    def set_serving(self, service: str, serving: bool) -> None:  # noqa: FBT001 - reads as a sentence
        """Say in health whether `service` serves; "" is the whole process."""
        self.health.set_serving(service, serving)

    def on_stop(self, callback: Callback) -> None:
        """Run `callback` once the server has stopped: end engines, children. First added, first run."""
        self._callbacks.append(callback)

    async def start(self) -> int:
        """Listen; return the port. Raises ListenError where the address is taken or cannot be had."""
        handlers = reflection.method_handlers([*dict.fromkeys(self._services), HEALTH])
        for name in (reflection.ALPHA, reflection.STABLE):
            Registrar(self._server, self._plain).add_registered_method_handlers(name, handlers)
        self._server.add_generic_rpc_handlers((refusal(self._layers),))
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise ListenError(
                f"{self._address} cannot be listened on: another process has it, or it is no address of this "
                "machine. Stop the other one, or choose another address."
            ) from error
        await self._server.start()
        self._started = True
        _LOGGER.info("serving", extra={"address": self._address, "port": port})
        return port

    async def run(self) -> None:
        """Start, serve until SIGTERM, SIGINT or `request_stop`, stop; a second signal skips the grace."""
        if not self._started:
            await self.start()
        _spare_the_collector()
        try:
            await self.wait_for_signal()
        finally:
            await self.stop()

    async def wait_for_signal(self) -> None:
        """Return on SIGTERM, SIGINT or `request_stop`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        await self._stop_wanted.wait()

    def request_stop(self) -> None:
        """Make `run` stop, as a signal does."""
        self._stop_wanted.set()

    def hurry(self) -> None:
        """Skip what is left of the waits of a stop, as a second signal does; calls in flight are ended."""
        self._in_a_hurry.set()
        self._drain.hurry()

    async def stop(self, grace: float | None = None) -> None:
        """Stop in order; `grace` overrides the server's. A second call waits for the first."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._grace if grace is None else grace))
        await asyncio.shield(self._stopping)

    async def _stop(self, grace: float) -> None:
        self.health.stop()
        if self._lame_duck:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lame_duck):
                    await self._in_a_hurry.wait()
        if self._started:
            stopped = asyncio.create_task(self._server.stop(grace + 2 * UNWIND_S))
            await self._drain.finish(grace)
            await stopped
        for callback in self._callbacks:
            try:
                await callback()
            except Exception:
                _LOGGER.exception("a callback failed while stopping")

    def _signalled(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stop_wanted.is_set():
            _LOGGER.info("stopping", extra={"signal": signal.Signals(number).name})
            self._hurry_from = now + SAME_SIGNAL_S
            self._stop_wanted.set()
        elif now >= self._hurry_from:
            _LOGGER.info("stopping at once", extra={"signal": signal.Signals(number).name})
            self.hurry()

    def _add_plain(self, name: str, add_to_server: Callable[[Any, Any], None], servicer: object) -> None:
        add_to_server(servicer, Registrar(self._server, self._plain))
        self.health.set_serving(name, serving=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _spare_the_collector() -> None:
    """Leave what is here to stay out of collections, and collect less often: a call makes few cycles.

    Under load the collector took a twentieth of a front's time, and its walks over all modules are pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
