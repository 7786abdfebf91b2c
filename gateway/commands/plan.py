"""What `trunkline up` starts, in which order, and which ports it needs."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from services.kit.command import CommandError
from services.kit.mesh import MESH, MONITOR_HTTP_PORT, OPERATORS_PORT, PUBLIC_PORT, ServiceEntry, entry
from services.kit.settings import setting
from services.store.settings import DEFAULT_MODELS

WORKER_PORT_STEP = 100  # more workers on 50152, 50252, …: clear of every other port of the mesh


@dataclass(frozen=True)
class UpSettings:
    """Where the parts of the mesh are; the services read the same variables."""

    public: str = setting(f"127.0.0.1:{PUBLIC_PORT}", "Where callers dial.")
    operators: str = setting(f"127.0.0.1:{OPERATORS_PORT}", "Where operators dial.")
    controller: str = setting(entry("gateway").address, "The gateway's controller.")
    tokenizer: str = setting(entry("tokenizer").address, "The tokenizer.")
    recommender: str = setting(entry("recommender").address, "The recommender. Empty: there is none.")
    rl_policy: str = setting(entry("rl_policy").address, "The policies' service. Empty: there is none.")
    workers: tuple[str, ...] = setting((entry("inference_worker").address,), "The workers.")
    monitor: str = setting(entry("monitor").address, "The monitor. Empty: there is none.")
    metrics_http: str = setting(f"127.0.0.1:{MONITOR_HTTP_PORT}", "Where Prometheus scrapes the monitor.")
    front_count: int = setting(1, "How many fronts the gateway starts.")
    front_port: int = setting(entry("front").port, "The first front's port; the others follow it.")
    models: tuple[str, ...] = setting(DEFAULT_MODELS, "The models that workers load when they start.")
    state: Path = setting(Path("~/.local/state/trunkline"), "Where what outlives a run is kept.")

    def with_workers(self, count: int) -> UpSettings:
        """Return the settings for `count` workers here: from the first one's port up, by hundreds."""
        host, _, port = self.workers[0].rpartition(":")
        numbers = range(int(port), int(port) + count * WORKER_PORT_STEP, WORKER_PORT_STEP)
        return replace(self, workers=tuple(f"{host}:{number}" for number in numbers))

    def addresses(self, of: ServiceEntry) -> tuple[str, ...]:
        """Return where this kind of process is, one address a process."""
        known = {
            "monitor": (self.monitor,) if self.monitor else (),
            "tokenizer": (self.tokenizer,),
            "recommender": (self.recommender,) if self.recommender else (),
            "rl_policy": (self.rl_policy,) if self.rl_policy else (),
            "inference_worker": self.workers,
            "gateway": (self.controller,),
        }
        return known.get(of.name, (of.address,))


@dataclass(frozen=True)
class Part:
    """A process that `trunkline up` starts: `name` is unique in the mesh."""

    entry: str
    """Its entry of the mesh's table."""
    name: str
    module: str
    address: str
    variables: dict[str, str]
    needs: tuple[str, ...]
    """Every address that it, or what it supervises, listens on."""


def parts(settings: UpSettings) -> tuple[Part, ...]:
    """Return what runs on this machine, in the order of starting; what has another address runs elsewhere."""
    return tuple(_parts(settings))


def _parts(settings: UpSettings) -> Iterator[Part]:
    shared = {
        "TRUNKLINE_PUBLIC": settings.public,
        "TRUNKLINE_WORKERS": ",".join(settings.workers),
    }
    for each in MESH:
        addresses = settings.addresses(each)
        for number, address in enumerate(addresses):
            if not each.parent and is_loopback(address):
                name = each.name if len(addresses) == 1 else f"{each.name}-{number}"
                variables = {**shared, "TRUNKLINE_LISTEN": address}
                needs = (*_more(each, settings), address)
                yield Part(each.name, name, each.module, address, variables, needs)


def _more(of: ServiceEntry, settings: UpSettings) -> tuple[str, ...]:
    """Return the addresses that a process needs besides the one it is dialled at."""
    if of.name == "monitor":
        return (settings.metrics_http,)
    if of.name == "gateway":
        fronts = range(settings.front_port, settings.front_port + settings.front_count)
        return (settings.public, settings.operators, *(f"127.0.0.1:{port}" for port in fronts))
    return ()


def is_loopback(address: str) -> bool:
    """Return whether host:port lies on this machine's loopback."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_ports(wanted: tuple[Part, ...]) -> None:
    """Raise CommandError, in a sentence that names it, when an address is taken or wanted twice."""
    wanted_by: dict[str, str] = {}
    for part in reversed(wanted):  # the gateway first: its public port is the one that people know
        for address in part.needs:
            if address in wanted_by:
                raise CommandError(f"{part.name} and {wanted_by[address]} are both to listen on {address}.")
            wanted_by[address] = part.name
            _check_port(address, part.name)


def _check_port(address: str, name: str) -> None:
    """Raise CommandError when nobody can listen on `address` now."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise CommandError(f"{address!r}, where the {name} is to listen, is not of the form HOST:PORT.")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        # As servers do it: a port whose last connections have not timed out yet is free. Not SO_REUSEPORT:
        # Envoy listens with it, and would share the port with this one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, int(port)))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"The {name} cannot listen on {address}: {_why(error)}. Is a mesh running already? Stop it, "
                "or give this one other ports: TRUNKLINE_PUBLIC, TRUNKLINE_WORKERS, …"
            ) from error


def _why(error: OSError | OverflowError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "there is no such port"
