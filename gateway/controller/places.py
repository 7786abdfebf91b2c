"""Where the mesh is, from the settings; and whether the gateway can listen where it is to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

from gateway.envoy.places import Endpoint, Places, parse_endpoint
from gateway.settings import GatewaySettings
from services.kit.addresses import lookup
from services.kit.audience import Audience, services
from services.kit.mesh import entry, owner

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class PortTakenError(Exception):
    """The gateway cannot listen where it is to; the message is a sentence."""


async def find_places(settings: GatewaySettings) -> Places:
    """Return where everything listens; raises PortTakenError for a host that does not resolve."""
    telemetry = settings.telemetry
    traces = telemetry.traces_endpoint or telemetry.monitor
    return Places(
        public=await _listened(settings.public),
        operators=await _listened(settings.operators),
        services=dict(_services(settings)),
        traces=parse_endpoint(traces) if traces else None,
        trace_ratio=telemetry.trace_ratio,
        origins=settings.origins,
    )


def _services(settings: GatewaySettings) -> Iterator[tuple[str, tuple[Endpoint, ...]]]:
    yield entry("front").name, settings.fronts
    yield entry("tokenizer").name, (parse_endpoint(settings.tokenizer),)
    if settings.recommender:
        yield entry("recommender").name, (parse_endpoint(settings.recommender),)
    if settings.rl_policy:
        yield entry("rl_policy").name, (parse_endpoint(settings.rl_policy),)
    yield entry("gateway").name, (dialled(settings.listen),)
    if settings.telemetry.monitor:
        yield entry("monitor").name, (parse_endpoint(settings.telemetry.monitor),)


def public_services(places: Places) -> dict[str, tuple[str, ...]]:
    """Return for each service that everybody may call, by its full name, the addresses that answer it."""
    return {
        name: tuple(at.address for at in places.services[owner(name).name])
        for name in services(Audience.USER)
        if owner(name).name in places.services
    }


def dialled(listened: str) -> Endpoint:
    """Return where this machine dials what listens at `listened`, which may be all addresses."""
    at = parse_endpoint(listened)
    return replace(at, host=_ANYWHERE.get(at.host, at.host))


async def check_ports(settings: GatewaySettings, places: Places) -> None:
    """Raise PortTakenError, in a sentence, where one of the gateway's addresses cannot be listened on.

    Envoy and the fronts would only say so in their logs, again and again.
    """
    wanted = {
        "public port": places.public,
        "operators' port": places.operators,
        "controller's port": await _listened(settings.listen),
        **{f"port of front {number}": at for number, at in enumerate(settings.fronts)},
    }
    for what, at in wanted.items():
        _check_port(what, at)


async def _listened(address: str) -> Endpoint:
    """Return the endpoint with an IP address for a host: Envoy listens on no name."""
    at = parse_endpoint(address)
    try:
        return replace(at, host=(await lookup(at.host))[0])
    except OSError as error:
        raise PortTakenError(f"The gateway cannot listen on {address}: its name does not resolve.") from error


def _check_port(what: str, at: Endpoint) -> None:
    with socket.socket(socket.AF_INET6 if ":" in at.host else socket.AF_INET) as listener:
        # As servers do: a port whose last connections have not timed out yet is free; one listened on is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((at.host, at.port))
        except OSError as error:
            raise PortTakenError(
                f"The gateway cannot listen on its {what}, {at.address} ({error.strerror}): another mesh or "
                "program has it. Stop that one, or give this one another port."
            ) from error
