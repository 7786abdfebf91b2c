"""Which models there are, and which version and workers answer for a name."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from gateway.front.calls import Task
from services.kit.errors import FailedPrecondition, NotFound, Reason, Unavailable


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model; `workers` have it ready, as the controller sees it."""

    name: str
    traffic_percent: int
    workers: tuple[str, ...]
    tokenizer_digest: str
    context_length: int
    dimensions: int = 0
    ready_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A model and its versions, newest first."""

    model: str
    task: Task
    versions: tuple[Version, ...]

    def version(self, name: str) -> Version:
        """Return the version called `name`; raises NotFound."""
        for version in self.versions:
            if version.name == name:
                return version
        raise NotFound(
            Reason.VERSION_NOT_FOUND,
            f"{self.model} has no version {name}",
            metadata={"model": self.model, "version": name},
        )

    def share(self, chance: random.Random) -> Version:
        """Return a version by its share; one without a ready worker gets none. Raises Unavailable."""
        open_versions = [each for each in self.versions if each.workers and each.traffic_percent]
        if not open_versions:
            raise not_ready(self.model)
        if len(open_versions) == 1:
            return open_versions[0]
        weights = [each.traffic_percent for each in open_versions]
        return chance.choices(open_versions, weights)[0]


@dataclass(frozen=True, slots=True)
class Target:
    """What a call goes to: a model and one of its versions."""

    model: str
    version: Version


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes at one revision; `workers` are the addresses of all workers that are known."""

    models: Mapping[str, Route] = field(default_factory=lambda: MappingProxyType({}))
    workers: tuple[str, ...] = ()
    revision: int = 0

    def route(self, model: str) -> Route:
        """Return the route of `model`; raises NotFound."""
        route = self.models.get(model)
        if route is None:
            raise NotFound(
                Reason.MODEL_NOT_FOUND,
                f"no model is called {model}; ListModels gives their names",
                metadata={"model": model},
            )
        return route

    def digests(self, task: Task) -> list[str]:
        """Return the tokenizer digests of all routed models of `task`."""
        routes = (route for route in self.models.values() if route.task is task)
        found = (version.tokenizer_digest for route in routes for version in route.versions)
        return list(dict.fromkeys(digest for digest in found if digest))


class Routes:
    """The last table that the controller sent; it stays in force while the controller is away."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._table: RouteTable | None = None
        self._chance = chance or random.Random()  # noqa: S311 - shares traffic out, keeps no secret

    @property
    def table(self) -> RouteTable:
        """The table in force; raises Unavailable (SERVICE_UNAVAILABLE) before the first one has come."""
        if self._table is None:
            raise Unavailable(Reason.SERVICE_UNAVAILABLE, "this front has just started and has no routes yet")
        return self._table

    def replace(self, table: RouteTable) -> None:
        """Put `table` in force."""
        self._table = table

    def resolve(self, model: str, version: str | None, task: Task) -> Target:
        """Return what answers for `model`: the version asked for, else one by its share of the traffic.

        Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND), FailedPrecondition (TASK_UNSUPPORTED) for a
        model of another task, and Unavailable (MODEL_NOT_READY, SERVICE_UNAVAILABLE).
        """
        route = self.table.route(model)
        if route.task is not task:
            raise FailedPrecondition(
                Reason.TASK_UNSUPPORTED,
                f"{model} does {route.task.lower()}, not {task.lower()}",
                metadata={"model": model, "task": str(task)},
            )
        chosen = route.share(self._chance) if version is None else route.version(version)
        if not chosen.workers:
            raise not_ready(model)
        return Target(model, chosen)


def not_ready(model: str) -> Unavailable:
    """Return the error for a model that no worker has ready."""
    return Unavailable(
        Reason.MODEL_NOT_READY,
        f"{model} is not ready on any worker: it is loading, or its workers are down",
        metadata={"model": model},
    )


def table(models: Sequence[Route], workers: Sequence[str], revision: int) -> RouteTable:
    """Return the table of `models` and `workers`, the addresses of models' versions among them."""
    addresses = {
        *workers,
        *(each for route in models for version in route.versions for each in version.workers),
    }
    return RouteTable({route.model: route for route in models}, tuple(sorted(addresses)), revision)
