"""Targets as addresses: `dns:///name:port` stands for every address that the name has."""

from __future__ import annotations

import asyncio
import socket

DNS = "dns:///"


def is_name(target: str) -> bool:
    """Return whether the target's addresses may change."""
    return target.startswith(DNS)


async def resolve(target: str) -> frozenset[str]:
    """Return the addresses (`host:port`) of a target; empty for a name that has none now."""
    if not is_name(target):
        return frozenset({target})
    host, _, port = target.removeprefix(DNS).rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return frozenset()
    return frozenset(_join(family, str(address[0]), int(address[1])) for family, _, _, _, address in found)


def _join(family: int, host: str, port: int) -> str:
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
