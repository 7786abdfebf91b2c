"""Where processes are: addresses as settings name them, and what their names stand for now."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

DNS = "dns:///"

LookUp = Callable[[str], Awaitable[Sequence[str]]]

_LOGGER = logging.getLogger(__name__)


def is_name(target: str) -> bool:
    """Return whether a target stands for all addresses of a name, which may change."""
    return target.startswith(DNS)


def split(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `[v6]:port`, `dns:///host:port` or `http://host:port`.

    Raises ValueError with half a sentence.
    """
    bare = address.split("://", 1)[-1].strip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or not port.isdigit() or not host:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Addresses:
    """Resolves targets.

    `dns:///name:port` stands for all addresses of the name, each a process called by its IP address; a plain
    `name:port` is one process called as it is. A name that does not resolve keeps what it stood for last.
    `look_up` returns a host's IP addresses, as `lookup` does.
    """

    def __init__(self, targets: Sequence[str], look_up: LookUp) -> None:
        self._targets = tuple(targets)
        self._look_up = look_up
        self._last: dict[str, Mapping[str, str]] = {}

    async def resolve(self) -> Mapping[str, str]:
        """Return for each process's address where it is dialled: `IP:port`, or "" while that is not known."""
        found: dict[str, str] = {}
        for target in self._targets:
            found.update(await self._processes(target))
        return found

    async def _processes(self, target: str) -> Mapping[str, str]:
        host, port = split(target)
        nothing = {} if is_name(target) else {target: ""}
        try:
            hosts = await self._look_up(host)
        except OSError as error:
            _LOGGER.warning("a name does not resolve", extra={"target": target, "cause": str(error)})
            return self._last.get(target, nothing)
        all_of_them = [join(host, port) for host in hosts]
        self._last[target] = (
            {address: address for address in all_of_them} if is_name(target) else {target: all_of_them[0]}
        )
        return self._last[target]


async def lookup(host: str) -> list[str]:
    """Return the IP addresses of `host`, ordered, IPv4 where there is any; raises OSError."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    by_family = {
        family: sorted({str(at[0]) for f, *_, at in answers if f == family}) for family, *_ in answers
    }
    return by_family.get(socket.AF_INET) or by_family[socket.AF_INET6]
