"""The one writer of Envoy's files: what is new is in effect before what is old goes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.envoy.admin import Admin, AdminError, until
from gateway.envoy.endpoints import load_assignment
from gateway.envoy.places import Endpoint
from gateway.envoy.snapshot import Folder, Snapshot

# A cluster is in effect once all its hosts have been asked for their health: 2 s where one hangs.
IN_EFFECT_S = 5.0
# What hosts that stay may take to be found healthy, if none is yet, before others go.
HEALTHY_S = 3.0

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_ROUTES = "envoy.config.route.v3.RouteConfiguration"

_LOGGER = logging.getLogger(__name__)


class Writer:
    """Turns one snapshot into the next, so that at no moment a call meets a gap.

    First clusters that are new, with their endpoints; then other clusters' endpoints, the added before the
    removed; then routes; last, clusters that nothing points to any more. Each step waits until Envoy says
    that the one before is in effect, as long as Envoy runs.
    """

    def __init__(self, folder: Folder, admin: Admin, is_running: Callable[[], bool]) -> None:
        self._folder = folder
        self._admin = admin
        self._is_running = is_running
        self._current = Snapshot({}, {}, {})
        self._version = 0

    async def write(self, wanted: Snapshot) -> None:
        """Make the files say `wanted`, and return when Envoy does as they say."""
        await self._add_clusters(wanted)
        for cluster in wanted.endpoints.keys() & self._current.endpoints.keys():
            await self._move(cluster, self._current.endpoints[cluster], wanted.endpoints[cluster])
        await self._change_routes(wanted)
        await self._remove_clusters(wanted)
        self._current = wanted

    async def _add_clusters(self, wanted: Snapshot) -> None:
        # A new cluster's endpoints come first: nobody reads them before the cluster is there.
        for cluster in wanted.endpoints.keys() - self._current.endpoints.keys():
            self._put_endpoints(cluster, wanted.endpoints[cluster])
        both = {**self._current.clusters, **wanted.clusters}
        if both != self._current.clusters:
            await self._put_clusters(both)

    async def _move(self, cluster: str, old: tuple[Endpoint, ...], new: tuple[Endpoint, ...]) -> None:
        if new == old:
            return
        stay = frozenset(each.address for each in new)
        gone = [each for each in old if each.address not in stay]
        if gone and stay:
            self._put_endpoints(cluster, (*new, *gone))
            await self._until_any_is_healthy(cluster, stay)
        version = self._put_endpoints(cluster, new)
        await self._until_in_effect(f"cluster.{cluster}.version_text", version)

    async def _change_routes(self, wanted: Snapshot) -> None:
        for listener, routes in wanted.routes.items():
            if self._current.routes.get(listener) != routes:
                version = self._put(self._folder.routes(listener), _ROUTES, [routes])
                await self._until_in_effect(f"http.{listener}.rds.{listener}.version_text", version)

    async def _remove_clusters(self, wanted: Snapshot) -> None:
        gone = self._current.clusters.keys() - wanted.clusters.keys()
        if gone:
            await self._put_clusters(wanted.clusters)
        for cluster in gone & self._current.endpoints.keys():
            self._folder.endpoints(cluster).unlink(missing_ok=True)

    async def _put_clusters(self, clusters: Mapping[str, Any]) -> None:
        version = self._put(self._folder.clusters, _CLUSTER, clusters.values())
        await self._until_in_effect("cluster_manager.cds.version_text", version)

    def _put_endpoints(self, cluster: str, endpoints: tuple[Endpoint, ...]) -> str:
        assignment = load_assignment(cluster, endpoints)
        return self._put(self._folder.endpoints(cluster), _ENDPOINTS, [assignment])

    def _put(self, path: Path, kind: str, resources: Iterable[Mapping[str, Any]]) -> str:
        """Rename a file with `resources` into place; return its version."""
        self._version += 1
        typed = [{"@type": f"type.googleapis.com/{kind}", **each} for each in resources]
        path.parent.mkdir(exist_ok=True)
        partial = self._folder.path / "partial.json"
        partial.write_text(json.dumps({"version_info": str(self._version), "resources": typed}, indent=1))
        partial.replace(path)
        return str(self._version)

    async def _until_in_effect(self, statistic: str, version: str) -> None:
        async def in_effect() -> bool:
            versions = await self._admin.versions()
            return versions.get(statistic) == version and versions["cluster_manager.warming_clusters"] == "0"

        await self._until(in_effect, IN_EFFECT_S, statistic)

    async def _until_any_is_healthy(self, cluster: str, endpoints: frozenset[str]) -> None:
        async def healthy() -> bool:
            return bool(endpoints & await self._admin.healthy(cluster))

        await self._until(healthy, HEALTHY_S, f"the health of {cluster}")

    async def _until(self, holds: Callable[[], Awaitable[bool]], limit_s: float, what: str) -> None:
        """Return when `holds()`, or after `limit_s` seconds; at once while Envoy is down."""
        if not self._is_running():
            return
        try:
            async with asyncio.timeout(limit_s):
                await until(holds)
        except TimeoutError:
            _LOGGER.warning("Envoy has not taken a change in time", extra={"what": what})
        except AdminError as error:
            _LOGGER.warning("Envoy cannot be asked", extra={"what": what, "cause": str(error)})
