"""Envoy's admin port: HTTP over a Unix socket that only this user can open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

# One answer of /clusters for a thousand endpoints is about 2 MB.
_LIMIT_BYTES = 32 * 1024 * 1024
ASK_EVERY_S = 0.01


class AdminError(Exception):
    """Envoy does not answer, or answers with an error: it is starting, stopping or down."""


class Admin:
    """Asks Envoy about itself. Every method raises AdminError."""

    def __init__(self, socket: Path, *, timeout_s: float = 2.0) -> None:
        self._socket = socket
        self._timeout_s = timeout_s

    async def ready(self) -> bool:
        """Return whether Envoy has its configuration and listens."""
        try:
            return (await self._ask("GET", "/ready")).startswith(b"LIVE")
        except AdminError:
            return False

    async def versions(self) -> Mapping[str, str]:
        """Return the version in effect of each file, by the name of its statistic.

        The keys end in `version_text`, such as `cluster.model.mine.version_text`. One more ends in
        `warming_clusters`: how many have been read but take no calls yet.
        """
        path = "/stats?format=json&type=All&filter=(version_text|cluster_manager.warming_clusters)$"
        stats = json.loads(await self._ask("GET", path))["stats"]
        return {each["name"]: str(each["value"]) for each in stats if "name" in each}

    async def healthy(self, cluster: str) -> frozenset[str]:
        """Return the endpoints (`host:port`) of `cluster` that take calls."""
        statuses = json.loads(await self._ask("GET", "/clusters?format=json"))["cluster_statuses"]
        found = [each for each in statuses if each["name"] == cluster]
        hosts = [host for each in found for host in each.get("host_statuses", ())]
        return frozenset(_address(host) for host in hosts if _takes_calls(host["health_status"]))

    async def active_requests(self) -> int:
        """Return how many calls the listeners hold."""
        path = "/stats?format=json&filter=^http\\.(public|operators)\\.downstream_rq_active$"
        stats = json.loads(await self._ask("GET", path))["stats"]
        return sum(int(each["value"]) for each in stats if "value" in each)

    async def drain(self) -> None:
        """Let the listeners close gracefully: connections are told to go elsewhere, calls go on."""
        await self._ask("POST", "/drain_listeners?graceful")

    async def _ask(self, method: str, path: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(method, path)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise AdminError(f"Envoy's admin port does not answer {path}") from error

    async def _exchange(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=_LIMIT_BYTES)
        try:
            lines = (
                f"{method} {path} HTTP/1.1",
                "Host: envoy",
                "Content-Length: 0",
                "Connection: close",
                "",
                "",
            )
            writer.write("\r\n".join(lines).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise AdminError(f"Envoy answers {head[:40]!r} to {path}")
            chunked = b"transfer-encoding: chunked" in head
            return await _chunks(reader) if chunked else await reader.read()
        finally:
            writer.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when `holds()`: Envoy tells nobody by itself, so it is asked again and again."""
    while not await holds():  # noqa: ASYNC110 - what is awaited happens in another process
        await asyncio.sleep(ASK_EVERY_S)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Return a body in chunks (RFC 9112, section 7.1) put together."""
    body = bytearray()
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)


def _address(host: Mapping[str, Any]) -> str:
    at = host["address"]["socket_address"]
    return f"{at['address']}:{at['port_value']}"


def _takes_calls(health: Mapping[str, Any]) -> bool:
    return not any(value is True for value in health.values()) and health["eds_health_status"] == "HEALTHY"
