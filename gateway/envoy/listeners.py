"""The two listeners: everybody's, with gRPC-Web, and the operators', which browsers cannot speak to."""

from __future__ import annotations

from typing import Any

from gateway.envoy.clusters import MESSAGE_BYTES, TRACES
from gateway.envoy.places import Endpoint, Places
from gateway.envoy.replies import MODEL_HEADER, TENSOR_PREFIX, local_reply_config
from gateway.envoy.routes import CLUSTER_HEADER, OPERATORS, PUBLIC, model_cluster

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
# A caller's own copy of the cluster header never counts: it goes first. The header is set after Envoy chose a
# route, so the choice is made again.
LUA = f"""
local prefix = "{TENSOR_PREFIX}"
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove("{CLUSTER_HEADER}")
  if headers:get(":path"):sub(1, #prefix) == prefix then
    headers:add("{CLUSTER_HEADER}", "{model_cluster("")}" .. (headers:get("{MODEL_HEADER}") or ""))
    handle:clearRouteCache()
  end
end
"""


def listeners(places: Places, routes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return both listeners; `routes` says for each where its routes come from: `rds` or `route_config`."""
    return [
        _listener(PUBLIC, places.public, _manager(PUBLIC, places, routes[PUBLIC])),
        _listener(OPERATORS, places.operators, _manager(OPERATORS, places, routes[OPERATORS])),
    ]


def _listener(name: str, at: Endpoint, manager: dict[str, Any]) -> dict[str, Any]:
    network_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": name,
        "address": {"socket_address": {"address": at.host, "port_value": at.port}},
        # Otherwise a second mesh on this port would silently take a share of the calls.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [network_filter]}],
    }


def _manager(name: str, places: Places, routes: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        # A web page could rebind a name to loopback and speak HTTP/1.1 to the operators; no page speaks h2c.
        "codec_type": "AUTO" if name == PUBLIC else "HTTP2",
        **routes,
        **_limits(),
        "use_remote_address": True,
        "preserve_external_request_id": True,
        # Nobody is inside: x-envoy-* headers of callers are stripped.
        "internal_address_config": {},
        "server_header_transformation": "PASS_THROUGH",
        "local_reply_config": local_reply_config(),
        "http_filters": _http_filters(name),
    }
    if places.traces is not None:
        manager["tracing"] = _tracing(places.trace_ratio)
    return manager


def _limits() -> dict[str, Any]:
    return {
        # A stream lives until its caller's deadline; idle ones too, such as Watch.
        "stream_idle_timeout": "0s",
        # A caller that opens a stream and never sends its headers.
        "request_headers_timeout": "10s",
        "http2_protocol_options": {
            "max_concurrent_streams": 1024,
            # What a filter may hold of one stream is one message, and two streams cannot stop a connection.
            "initial_stream_window_size": MESSAGE_BYTES,
            "initial_connection_window_size": 2 * MESSAGE_BYTES,
            # A caller that is gone without a word is found, and what runs for it is cancelled.
            "connection_keepalive": {"interval": "15s", "timeout": "10s"},
        },
    }


def _http_filters(name: str) -> list[dict[str, Any]]:
    web = [_filter("cors", "Cors"), _filter("grpc_web", "GrpcWeb")]
    code = {"default_source_code": {"inline_string": LUA}}
    return [
        *(web if name == PUBLIC else []),
        _filter("lua", "Lua", **code),
        _filter("router", "Router", suppress_envoy_headers=True),
    ]


def _filter(name: str, message: str, **options: Any) -> dict[str, Any]:
    kind = f"{_FILTERS}.http.{name}.v3.{message}"
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": kind, **options}}


def _tracing(ratio: float) -> dict[str, Any]:
    config = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "service_name": "envoy",
        "grpc_service": {"envoy_grpc": {"cluster_name": TRACES}, "timeout": "1s"},
        "sampler": _sampler("parent_based", "ParentBased", wrapped_sampler=_ratio(ratio)),
    }
    return {
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": config},
        # The sampler decides: this one would overrule a caller who has decided already.
        "random_sampling": {"value": 100},
        # A span of its own for each try upstream, which is what joins caller and service in one tree.
        "spawn_upstream_span": True,
    }


def _ratio(ratio: float) -> dict[str, Any]:
    share = {"numerator": round(1_000_000 * ratio), "denominator": "MILLION"}
    return _sampler("trace_id_ratio_based", "TraceIdRatioBased", sampling_percentage=share)


def _sampler(name: str, message: str, **options: Any) -> dict[str, Any]:
    kind = f"type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{message}SamplerConfig"
    name = f"envoy.tracers.opentelemetry.samplers.{name}"
    return {"name": name, "typed_config": {"@type": kind, **options}}
