"""Which hosts a cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.envoy.places import Endpoint


def load_assignment(cluster: str, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the `ClusterLoadAssignment` of `cluster`."""
    return {
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [_lb_endpoint(each) for each in endpoints]}],
    }


def _lb_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    address = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    return {"endpoint": {"address": address}, "load_balancing_weight": endpoint.weight}
