"""Where calls go: a cluster a service of the mesh, one for traces, and one a model."""

from __future__ import annotations

from typing import Any

from gateway.envoy.endpoints import load_assignment
from gateway.envoy.places import Endpoint, Models, Places
from gateway.envoy.routes import model_cluster
from services.kit import mesh

TRACES = "traces"
WORKER_SERVICE = "trunkline.worker.v1.WorkerService"
MESSAGE_BYTES = 64 * 1024 * 1024
# Far above what two cores can do: the services refuse by themselves, with a reason and a time to come back.
_UNLIMITED = 1_000_000
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def service_clusters(places: Places) -> dict[str, dict[str, Any]]:
    """Return a cluster for each service of the mesh that answers routed rpcs, by name."""
    return {
        name: {
            **_cluster(name, mesh.entry(name).services[0]),
            **_by_name(name, endpoints),
        }
        for name, endpoints in places.services.items()
    }


def model_clusters(models: Models, discovery: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a cluster for each model, by name; `discovery` holds for each how its endpoints are found."""
    names = [model_cluster(model) for model in models]
    return {name: {**_cluster(name, WORKER_SERVICE), **discovery[name]} for name in names}


def traces_cluster(collector: Endpoint) -> dict[str, Any]:
    """Return the cluster of the traces' collector, which has to stand in the bootstrap."""
    return {**_upstream(TRACES), **_by_name(TRACES, (collector,))}


def _by_name(name: str, endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """Name endpoints that Envoy resolves by itself: a name to all it stands for, an IP address to itself."""
    dns = {
        "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_refresh_rate": "5s",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
    }
    return {
        "cluster_type": {"name": "envoy.cluster.dns", "typed_config": dns},
        "load_assignment": load_assignment(name, endpoints),
    }


def _cluster(name: str, service: str) -> dict[str, Any]:
    return {
        **_upstream(name),
        "health_checks": [_health_check(service)],
        "outlier_detection": _outlier_detection(),
        "common_lb_config": {
            # No call goes to a host that is known to be dead, even when all are.
            "healthy_panic_threshold": {"value": 0},
            # Otherwise a host that is back waits up to a second, while the admin port shows it healthy.
            "update_merge_window": "0s",
        },
        # A host that is taken out is out at once, not when its health check fails.
        "ignore_health_on_host_removal": True,
    }


def _upstream(name: str) -> dict[str, Any]:
    http2 = {
        "initial_stream_window_size": MESSAGE_BYTES,
        "initial_connection_window_size": 2 * MESSAGE_BYTES,
        # A frozen peer is found after 5 s + 3 s.
        "connection_keepalive": {"interval": "5s", "timeout": "3s"},
    }
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _UNLIMITED)
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{**limits, "max_retries": 1000}]},
        "typed_extension_protocol_options": {
            _HTTP.removeprefix("type.googleapis.com/"): {
                "@type": _HTTP,
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
    }


def _health_check(service: str) -> dict[str, Any]:
    return {
        "timeout": "2s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        # A host that comes back is found in a quarter of a second.
        "unhealthy_interval": "0.25s",
        # A refused connection fails its caller at once anyway; one slow answer condemns no busy process.
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": service},
    }


def _outlier_detection() -> dict[str, Any]:
    """Eject hosts that cannot be reached; an UNAVAILABLE from a service judges the call, not the host."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 50,
    }
