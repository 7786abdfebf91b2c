"""Where workers are: addresses as settings name them, resolved to what is dialled."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.envoy.places import Endpoint, parse_endpoint

DNS = "dns:///"

LookUp = Callable[[str], Awaitable[Sequence[str]]]

_LOGGER = logging.getLogger(__name__)


class Addresses:
    """Resolves what TRUNKLINE_WORKERS names.

    `dns:///name:port` stands for all addresses of the name, each a worker called by its IP address; a plain
    `name:port` is one worker called as it is. A name that does not resolve keeps what it stood for last.
    `look_up` returns a host's IP addresses, as `lookup` does.
    """

    def __init__(self, targets: Sequence[str], look_up: LookUp) -> None:
        self._targets = tuple(targets)
        self._look_up = look_up
        self._last: dict[str, Mapping[str, str]] = {}

    async def resolve(self) -> Mapping[str, str]:
        """Return for each worker's address where Envoy dials it: `IP:port`, or "" while that is not known."""
        found: dict[str, str] = {}
        for target in self._targets:
            found.update(await self._workers(target))
        return found

    async def _workers(self, target: str) -> Mapping[str, str]:
        named = parse_endpoint(target)
        nothing = {} if target.startswith(DNS) else {target: ""}
        try:
            hosts = await self._look_up(named.host)
        except OSError as error:
            _LOGGER.warning("a worker's name does not resolve", extra={"target": target, "cause": str(error)})
            return self._last.get(target, nothing)
        all_of_them = [Endpoint(host, named.port).address for host in hosts]
        self._last[target] = (
            {address: address for address in all_of_them}
            if target.startswith(DNS)
            else {target: all_of_them[0]}
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
