"""What Envoy's resources are rendered from: where everything listens, and which workers have which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.kit.addresses import join, split


@dataclass(frozen=True, order=True)
class Endpoint:
    """A host and a port, and how much of its cluster's traffic it takes relative to the others."""

    host: str
    """A name or an IP address; an IP address where it stands for a worker."""
    port: int
    weight: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536 or self.weight < 1:
            raise ValueError(f"not an endpoint: {self}")

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return join(self.host, self.port)


@dataclass(frozen=True)
class Places:
    """What stays as it is while the gateway runs."""

    public: Endpoint
    """Where everybody calls."""
    operators: Endpoint
    """Where operators call."""
    services: Mapping[str, tuple[Endpoint, ...]]
    """Where each entry of the mesh's table that answers routed rpcs listens, by its name, such as `front`."""
    traces: Endpoint | None = None
    """Where spans go by OTLP; None sends none."""
    trace_ratio: float = 1.0
    """The share of traces begun here that are recorded."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may call by gRPC-Web, beside those on the same machine."""


Models = Mapping[str, tuple[Endpoint, ...]]
"""Which workers take tensor-level calls for each known model; none while it is not ready."""

NO_MODELS: Models = MappingProxyType({})


def parse_endpoint(address: str) -> Endpoint:
    """Return the endpoint that `host:port`, `[v6]:port`, `dns:///host:port` or `http://host:port` names.

    Raises ValueError with half a sentence.
    """
    return Endpoint(*split(address))
