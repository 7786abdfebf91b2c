"""The monitor over HTTP: Prometheus' /metrics, Jaeger's query paths, and /healthz."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Self

from aiohttp import web

from services.monitor import jaeger
from services.monitor.exposition import Exposition, Format
from services.monitor.trace_ids import parse_trace_id
from services.monitor.traces import TraceRing

log = logging.getLogger(__name__)

SERIES_A_WRITE = 64

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpDoor:
    """Answers on `address` (`host:port`, port 0: any). `async with` opens and closes it.

    It only reads: there is nothing to post, and a request is a line and its headers.
    """

    def __init__(self, address: str, exposition: Exposition, ring: TraceRing) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._exposition = exposition
        self._ring = ring
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)

    @property
    def port(self) -> int:
        """The port that it listens on, once it is open."""
        return int(self._runner.addresses[0][1])

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host.strip("[]"), self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SystemExit(
                f"{self._host}:{self._port} cannot be listened on: another process has it, or it is not an "
                "address of this machine. Stop the other one, or set TRUNKLINE_METRICS_HTTP."
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening; answers under way have a second. Idempotent."""
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_errors_as_json], client_max_size=1_024)
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/api/v3/traces/{trace_id}", self._trace),
                web.get("/api/v3/services", self._services),
                web.get("/api/v3/operations", self._operations),
            ]
        )
        return application

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        form = Format.accepted(request.headers.get("Accept", ""))
        response = web.StreamResponse(headers={"Content-Type": form.content_type})
        await response.prepare(request)
        pieces = self._exposition.pieces(form)
        # Piece by piece, so that what is exported meanwhile need not wait for a large answer.
        while batch := "".join(islice(pieces, SERIES_A_WRITE)):
            await response.write(batch.encode())
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "SERVING"})

    async def _trace(self, request: web.Request) -> web.Response:
        # Jaeger takes ids without their leading zeros.
        trace_id = parse_trace_id(request.match_info["trace_id"].zfill(32))
        if trace_id is None:
            return _failed(400, "malformed parameter trace_id: it must be up to 32 hex digits")
        trace = self._ring.get(trace_id)
        return web.json_response(jaeger.trace(trace)) if trace else _failed(404, "No traces found")

    async def _services(self, _request: web.Request) -> web.Response:
        return web.json_response(jaeger.services(self._ring.operations()))

    async def _operations(self, request: web.Request) -> web.Response:
        service = request.query.get("service", "")
        return web.json_response(jaeger.operations_of(service, self._ring.operations()))


@web.middleware
async def _errors_as_json(request: web.Request, handler: Respond) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return _failed(refusal.status, refusal.reason)
    except Exception:
        log.exception("an HTTP request failed", extra={"path": request.path})
        return _failed(500, "a fault of the monitor; its log says more")


def _failed(status: int, message: str) -> web.Response:
    return web.json_response(jaeger.error(status, message), status=status)
