"""Which rpc goes where: one exact path an rpc, from the marks in the descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.envoy.places import Places
from gateway.envoy.replies import MODEL_HEADER, TENSOR_PREFIX
from services.kit import audience, mesh
from services.kit.audience import Audience, Method

PUBLIC = "public"
OPERATORS = "operators"
AUDIENCES = {PUBLIC: (Audience.USER,), OPERATORS: (Audience.USER, Audience.OPERATOR)}
CONTROLLER = "gateway"
CLUSTER_HEADER = "x-trunkline-cluster"
STANDARD = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)

# What happened before the request left is safe to try again whatever the rpc does.
UNSENT = "connect-failure,refused-stream,reset-before-request"
# An idempotent rpc is tried again, elsewhere if there is an elsewhere, until the first byte of its answer.
ANY = f"{UNSENT},reset,unavailable"
LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def model_cluster(model: str) -> str:
    """Return the name of the cluster of the workers that have `model` ready."""
    return f"model.{model}"


def routed(listener: str) -> tuple[Method, ...]:
    """Return the rpcs that `listener` (PUBLIC or OPERATORS) serves."""
    return tuple(each for each in audience.methods() if each.audience in AUDIENCES[listener])


def route_configuration(listener: str, places: Places) -> dict[str, Any]:
    """Return the `RouteConfiguration` of `listener`; rpcs of services that are nowhere are not routed."""
    everything: dict[str, Any] = {
        "name": "everything",
        "domains": ["*"],
        "routes": [
            *(_rpc(method) for method in routed(listener) if _cluster(method) in places.services),
            *(_standard(prefix) for prefix in STANDARD),
            _tensors(),
        ],
    }
    if listener == PUBLIC:
        everything["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors(places.origins)}
    return {"name": listener, "virtual_hosts": [everything], "request_headers_to_remove": [CLUSTER_HEADER]}


def _rpc(method: Method) -> dict[str, Any]:
    retry_policy = _retry(ANY if method.idempotent else UNSENT)
    return {
        "match": {"path": method.path},
        "route": {"cluster": _cluster(method), **_unhurried(), "retry_policy": retry_policy},
    }


def _cluster(method: Method) -> str:
    return mesh.owner(method.service).name


def _standard(prefix: str) -> dict[str, Any]:
    """Route health and reflection, which the controller answers for all: often called, never traced."""
    return {
        "match": {"prefix": prefix},
        "route": {"cluster": CONTROLLER, **_unhurried()},
        "tracing": {"overall_sampling": {"numerator": 0}},
    }


def _tensors() -> dict[str, Any]:
    """Route the Open Inference Protocol straight to a worker, by the header that the Lua filter sets."""
    return {
        "match": {"prefix": TENSOR_PREFIX},
        "route": {
            "cluster_header": CLUSTER_HEADER,
            "cluster_not_found_response_code": "NOT_FOUND",
            **_unhurried(),
            "retry_policy": _retry(UNSENT),
        },
    }


def _unhurried() -> dict[str, Any]:
    """Set no time limit: Envoy's default cuts streams after 15 s.

    `grpc-timeout` travels on as it came. Caller and service both keep it, with a status; Envoy could only
    reset a stream that has begun, which gRPC calls INTERNAL, and would race the caller for it.
    """
    return {"timeout": "0s", "idle_timeout": "0s"}


def _retry(retry_on: str) -> dict[str, Any]:
    predicate = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": retry_on,
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": predicate}}
        ],
        # A dead host has the fewest requests, so least-request picks it three times in four: ask until it is
        # another one.
        "host_selection_retry_max_attempts": "32",
    }


def _cors(origins: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [
            {"safe_regex": {"regex": LOCAL_ORIGIN}},
            *({"exact": origin} for origin in origins),
        ],
        "allow_methods": "POST",
        "allow_headers": f"content-type,x-grpc-web,x-user-agent,grpc-timeout,traceparent,{MODEL_HEADER}",
        "expose_headers": "grpc-status,grpc-message,grpc-status-details-bin",
        "max_age": "600",
    }
