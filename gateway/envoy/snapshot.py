"""Everything that Envoy reads: at one moment, from files or, for `--mode validate`, as static resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.envoy.clusters import model_clusters, service_clusters, traces_cluster
from gateway.envoy.endpoints import load_assignment
from gateway.envoy.listeners import listeners
from gateway.envoy.places import Endpoint, Models, Places
from gateway.envoy.routes import AUDIENCES, model_cluster, route_configuration

Resource = dict[str, Any]

MAX_CONNECTIONS = 50_000


@dataclass(frozen=True)
class Folder:
    """Where the files lie."""

    path: Path

    def write_bootstrap(self, content: Resource) -> None:
        """Write what Envoy is started with."""
        self.bootstrap.write_text(json.dumps(content, indent=1))

    @property
    def bootstrap(self) -> Path:
        """What Envoy is started with."""
        return self.path / "bootstrap.json"

    @property
    def admin(self) -> Path:
        """The Unix socket of Envoy's admin port."""
        return self.path / "admin.sock"

    @property
    def clusters(self) -> Path:
        """All clusters."""
        return self.path / "clusters" / "all.json"

    def routes(self, listener: str) -> Path:
        """Return the path of a listener's routes."""
        return self.path / "routes" / f"{listener}.json"

    def endpoints(self, cluster: str) -> Path:
        """Return the path of a cluster's endpoints; a model's name has no character that a path minds."""
        return self.path / "endpoints" / f"{cluster}.json"


@dataclass(frozen=True)
class Snapshot:
    """What the files say: for each resource's name the resource, or the endpoints that make it."""

    clusters: Mapping[str, Resource]
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    routes: Mapping[str, Resource]


def snapshot(places: Places, models: Models, folder: Folder) -> Snapshot:
    """Return what the files in `folder` are to say."""
    names = {model: model_cluster(model) for model in models}
    discovery = {
        name: {"type": "EDS", "eds_cluster_config": {"eds_config": _watched(folder.endpoints(name))}}
        for name in names.values()
    }
    return Snapshot(
        clusters={**service_clusters(places), **model_clusters(models, discovery)},
        endpoints={name: models[model] for model, name in names.items()},
        routes={each: route_configuration(each, places) for each in AUDIENCES},
    )


def bootstrap(places: Places, folder: Folder) -> Resource:
    """Return what Envoy is started with: listeners, and where to find the rest.

    The listeners stand here, not in a file of their own, because Envoy ends when it cannot bind one of these.
    """
    routes = {
        each: {"rds": {"route_config_name": each, "config_source": _watched(folder.routes(each))}}
        for each in AUDIENCES
    }
    return {
        **_process(folder),
        "dynamic_resources": {"cds_config": _watched(folder.clusters)},
        "static_resources": {"listeners": listeners(places, routes), "clusters": _collectors(places)},
    }


def static(places: Places, models: Models, folder: Folder) -> Resource:
    """Return the same resources in one document, for `envoy --mode validate`, which reads no other file."""
    routes = {each: {"route_config": route_configuration(each, places)} for each in AUDIENCES}
    discovery = {
        name: {"type": "STATIC", "load_assignment": load_assignment(name, endpoints)}
        for name, endpoints in ((model_cluster(model), models[model]) for model in models)
    }
    clusters = {**service_clusters(places), **model_clusters(models, discovery)}
    return {
        **_process(folder),
        "static_resources": {
            "listeners": listeners(places, routes),
            "clusters": [*_collectors(places), *clusters.values()],
        },
    }


def _collectors(places: Places) -> list[Resource]:
    return [traces_cluster(places.traces)] if places.traces else []


def _watched(path: Path) -> Resource:
    """Say to read `path`, and again whenever a file in its folder is renamed into place."""
    return {
        "path_config_source": {"path": str(path), "watched_directory": {"path": str(path.parent)}},
        "resource_api_version": "V3",
    }


def _connections() -> Resource:
    """Leave descriptors for the upstreams, whatever callers do."""
    kind = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
    limit = {
        "@type": f"{kind}.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_CONNECTIONS,
    }
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}


def _process(folder: Folder) -> Resource:
    log = {"time": "%Y-%m-%dT%T.%e%z", "level": "%l", "service": "envoy", "logger": "%n", "message": "%j"}
    # Spans leave in batches of one, 0.1 s after they end, instead of after five seconds.
    flush = {"tracing.opentelemetry.min_flush_spans": 1, "tracing.opentelemetry.flush_interval_ms": 100}
    return {
        "node": {"id": "gateway", "cluster": "trunkline"},
        "admin": {"address": {"pipe": {"path": str(folder.admin), "mode": 0o600}}},
        "application_log_config": {"log_format": {"json_format": log}},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": flush}]},
        "overload_manager": {"resource_monitors": [_connections()]},
    }
