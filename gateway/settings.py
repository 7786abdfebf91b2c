"""The gateway's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gateway.envoy.places import Endpoint, parse_endpoint
from services.kit.mesh import OPERATORS_PORT, PUBLIC_PORT, entry, owner
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings

_STATE = "~/.local/state/trunkline"


@dataclass(frozen=True)
class GatewaySettings:
    """Where the gateway listens, whom it dials, and how it runs Envoy and the fronts."""

    listen: str = setting(
        owner("trunkline.control.v1.ControlService").address, "Where the controller answers the mesh."
    )
    public: str = setting(f"127.0.0.1:{PUBLIC_PORT}", "Where everybody calls.")
    operators: str = setting(f"127.0.0.1:{OPERATORS_PORT}", "Where operators call; keep it on loopback.")
    tokenizer: str = setting(entry("tokenizer").address, "The tokenizer service.")
    recommender: str = setting(entry("recommender").address, "The recommender. Empty: there is none.")
    rl_policy: str = setting(entry("rl_policy").address, "The policies' service. Empty: there is none.")
    workers: tuple[str, ...] = setting(
        (entry("inference_worker").address,),
        "The workers: host:port each, or dns:///name:port for all addresses of a name.",
    )
    front_count: int = setting(1, "How many fronts run side by side.", unit="processes")
    front_port: int = setting(entry("front").port, "The first front's port; the others follow it.")
    envoy: str = setting("", "Envoy's binary. Empty: the one that is installed with trunkline[gateway].")
    envoy_threads: int = setting(2, "How many threads of Envoy carry calls.", unit="threads")
    origins: tuple[str, ...] = setting(
        (), "Web origins, beside those on this machine, whose pages may call by gRPC-Web."
    )
    state: Path = setting(Path(_STATE), "The folder where operators' decisions on routes are kept.")
    drain_s: float = setting(8.0, "How long running calls may take to end when Envoy stops.", unit="seconds")
    resolve_s: float = setting(5.0, "How often names of workers are looked up.", unit="seconds")
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if self.front_count < 1 or self.envoy_threads < 1:
            raise ValueError("TRUNKLINE_FRONT_COUNT and TRUNKLINE_ENVOY_THREADS must be 1 or more")
        if self.drain_s < 0 or self.resolve_s <= 0:
            raise ValueError("TRUNKLINE_DRAIN_S must be 0 or more, TRUNKLINE_RESOLVE_S above 0")
        for address in (self.listen, self.public, self.operators, self.tokenizer, *self.workers):
            parse_endpoint(address)
        for optional in (self.recommender, self.rl_policy):
            if optional:
                parse_endpoint(optional)
        if not 0 < self.front_port <= 65_536 - self.front_count:
            raise ValueError(f"TRUNKLINE_FRONT_PORT {self.front_port} leaves no room for the fronts' ports")

    @property
    def fronts(self) -> tuple[Endpoint, ...]:
        """Where the fronts listen: on loopback, since Envoy is the only one that calls them."""
        ports = range(self.front_port, self.front_port + self.front_count)
        return tuple(Endpoint("127.0.0.1", port) for port in ports)
