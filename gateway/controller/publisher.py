"""From routes to the data plane: which workers take tensor-level calls for a model, and how many each."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from gateway.controller.board import Board
from gateway.controller.table import ModelRoute, RouteTable
from gateway.envoy.data_plane import DataPlane
from gateway.envoy.places import Endpoint, Models, parse_endpoint

# A share of 1 % over 100 workers is still a weight of 1.
WEIGHT_OF_ALL = 10_000

_LOGGER = logging.getLogger(__name__)


class Publisher:
    """Shows the data plane each table, one after the other; those that came in between are skipped."""

    def __init__(self, board: Board, data_plane: DataPlane) -> None:
        self._board = board
        self._data_plane = data_plane
        self.shown = 0
        """The last revision that is in effect in Envoy."""

    async def run(self) -> None:
        """Show the routes as they are, and as they change, until cancelled."""
        async for table in self._board.follow():
            try:
                await self._data_plane.show(endpoints(table))
                self.shown = table.revision
            except OSError:
                _LOGGER.exception("Envoy's files cannot be written")


def endpoints(table: RouteTable) -> Models:
    """Return for each known model the workers that take its calls, weighted as its versions share traffic."""
    places = {worker.address: worker.endpoint for worker in table.workers if worker.endpoint}
    return {route.model: _endpoints(route, places) for route in table.models}


def _endpoints(route: ModelRoute, places: dict[str, str]) -> tuple[Endpoint, ...]:
    weights: Counter[str] = Counter()
    for version in route.versions:
        found = [address for address in version.workers if address in places]
        for address in found if version.traffic_percent else ():
            weights[address] += max(1, WEIGHT_OF_ALL * version.traffic_percent // (100 * len(found)))
    return tuple(replace(parse_endpoint(places[each]), weight=weights[each]) for each in sorted(weights))
