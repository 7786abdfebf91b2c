"""Routes as a function of what workers say and operators decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from gateway.controller.table import (
    ModelRoute,
    ModelState,
    Overrides,
    RouteTable,
    Task,
    VersionRoute,
    WorkerRoute,
    WorkerState,
)

_NUMBER = re.compile(r"(\d+)")


def derive(
    workers: Iterable[WorkerState], overrides: Overrides, previous: RouteTable, now: datetime
) -> RouteTable:
    """Return the routes that follow; `previous` itself where nothing changed, else with the next revision.

    A model that any worker knows stays in the table while it is ready nowhere, so that callers are told to
    come back rather than that there is no such model. Without an operator's shares, the newest version that
    is ready anywhere gets all traffic.
    """
    known = sorted(workers, key=lambda worker: worker.address)
    table = RouteTable(
        revision=previous.revision + 1,
        models=_models(known, overrides, previous),
        workers=tuple(
            WorkerRoute(each.address, each.endpoint, each.reachable, each.address in overrides.drained)
            for each in known
        ),
        changed_at=now,
    )
    same = replace(table, revision=previous.revision, changed_at=previous.changed_at)
    return previous if same == previous else table


def newest_first(version: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts versions oldest first, numbers in them by value: 2 before 10."""
    parts = _NUMBER.split(version)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts if part)


def _models(workers: list[WorkerState], overrides: Overrides, previous: RouteTable) -> tuple[ModelRoute, ...]:
    names = sorted({state.model for worker in workers for state in worker.models})
    return tuple(_model(name, workers, overrides, previous.model(name)) for name in names)


def _model(
    name: str, workers: list[WorkerState], overrides: Overrides, previous: ModelRoute | None
) -> ModelRoute:
    shares = overrides.shares.get(name, {})
    states = [state for worker in workers for state in worker.models if state.model == name]
    names = sorted({state.version for state in states} | shares.keys(), key=newest_first, reverse=True)
    before = {each.version: each for each in previous.versions} if previous else {}
    versions = [_version(name, each, workers, overrides, before.get(each)) for each in names]
    tasks = [state.task for state in states if state.task is not Task.UNSPECIFIED]
    task = tasks[0] if tasks else previous.task if previous else Task.UNSPECIFIED
    return ModelRoute(name, task, _shared(versions, shares))


def _version(
    model: str,
    version: str,
    workers: list[WorkerState],
    overrides: Overrides,
    previous: VersionRoute | None,
) -> VersionRoute:
    """Return the version without its share. A worker that loads it may not yet know what it is like."""
    found = [
        (worker, state)
        for worker in workers
        for state in worker.models
        if (state.model, state.version) == (model, version)
    ]
    ready = [(worker, state) for worker, state in found if state.ready and _open(worker, overrides)]
    likeness = _likeness([*(state for _, state in ready), *(state for _, state in found)], previous)
    since = [state.ready_since for _, state in ready if state.ready_since]
    return VersionRoute(
        version=version,
        traffic_percent=0,
        workers=tuple(worker.address for worker, _ in ready),
        tokenizer_digest=likeness.tokenizer_digest if likeness else "",
        context_length=likeness.context_length if likeness else 0,
        dimensions=likeness.dimensions if likeness else 0,
        ready_since=min(since, default=None),
    )


def _open(worker: WorkerState, overrides: Overrides) -> bool:
    return worker.reachable and not worker.draining and worker.address not in overrides.drained


def _likeness(states: list[ModelState], previous: VersionRoute | None) -> ModelState | VersionRoute | None:
    """Return who tells what a version is like: the first that names its tokenizer or its vectors' size."""
    return next((each for each in states if each.tokenizer_digest or each.dimensions), previous)


def _shared(versions: list[VersionRoute], shares: Mapping[str, int]) -> tuple[VersionRoute, ...]:
    """Return the versions with their shares: all 0 while none is ready."""
    newest = next((each.version for each in versions if each.workers), None)
    if newest is None:
        return tuple(versions)
    chosen = shares or {newest: 100}
    return tuple(replace(each, traffic_percent=chosen.get(each.version, 0)) for each in versions)
