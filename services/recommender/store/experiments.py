"""Definitions of experiments; who takes part in which variant follows from a hash and is not stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import time
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select

from services.kit.errors import AlreadyExists, FailedPrecondition, NotFound, Reason
from services.recommender.store.database import Database
from services.recommender.store.schema import experiments as table


@dataclass(frozen=True)
class Variant:
    """One arm."""

    name: str
    weight: float = 1.0
    """Its share is this over the sum of all."""
    scenario: str = ""
    """The pipeline it is answered by."""


@dataclass(frozen=True)
class Experiment:
    """Two or more variants of one scenario."""

    name: str
    scenario: str
    """Queries for this scenario take part."""
    variants: tuple[Variant, ...]
    unit: Literal["user", "session"] = "user"
    salt: str = ""
    """Another salt is another assignment; empty: the name."""
    goals: Mapping[str, str] | None = None
    """The event types that count: {"click": …, "conversion": …}."""
    created: float = 0.0
    ended: float = 0.0
    """0: running."""

    @property
    def definition(self) -> Experiment:
        """What was asked for, its times aside."""
        return replace(self, created=0.0, ended=0.0)


class Experiments:
    """The experiments, in memory and on disk. Belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        """Begin with none: `open` reads what there is."""
        self._database = database
        self._known: dict[str, Experiment] = {}

    @classmethod
    async def open(cls, database: Database) -> Experiments:
        """Read the definitions."""
        experiments = cls(database)
        await experiments.refresh()
        return experiments

    async def refresh(self) -> None:
        """Read the definitions again, as other replicas may have changed them."""
        self._known = await self._database.reading(_read)

    async def create(self, experiment: Experiment) -> Experiment:
        """Store a definition and return it, with its time. The same again is a retry.

        Raises AlreadyExists (REQUEST_ID_REUSED: another definition has the name), FailedPrecondition
        (EXPERIMENT_RUNNING: its scenario has one that runs).
        """
        created = replace(experiment, created=time(), ended=0.0)

        def work(connection: Connection) -> Experiment:
            known = _read(connection)
            same = known.get(experiment.name)
            if same is not None:
                return _retried(same, experiment)
            running = _running(known, experiment.scenario)
            if running is not None:
                message = f"experiment {running.name!r} runs on scenario {experiment.scenario!r}"
                metadata = {"experiment": running.name}
                raise FailedPrecondition(Reason.EXPERIMENT_RUNNING, message, metadata=metadata)
            _write(connection, created)
            return created

        return await self._database.writing(work, self._learn)

    def get(self, name: str) -> Experiment:
        """Return the definition; raises NotFound (EXPERIMENT_NOT_FOUND)."""
        return _named(self._known, name)

    def list(self) -> Sequence[Experiment]:
        """Return all, the newest first."""
        return sorted(self._known.values(), key=lambda each: (-each.created, each.name))

    def running(self, scenario: str) -> Experiment | None:
        """Return the one that runs on a scenario. Synchronous, for hot paths."""
        return _running(self._known, scenario)

    async def end(self, name: str) -> Experiment:
        """End it; idempotent. Raises NotFound (EXPERIMENT_NOT_FOUND)."""

        def work(connection: Connection) -> Experiment:
            known = _named(_read(connection), name)
            ended = known if known.ended else replace(known, ended=time())
            _write(connection, ended)
            return ended

        return await self._database.writing(work, self._learn)

    def _learn(self, experiment: Experiment) -> None:
        self._known = {**self._known, experiment.name: experiment}


def _running(known: Mapping[str, Experiment], scenario: str) -> Experiment | None:
    return next((each for each in known.values() if each.scenario == scenario and not each.ended), None)


def _named(known: Mapping[str, Experiment], name: str) -> Experiment:
    if name not in known:
        message = f"there is no experiment {name!r}"
        raise NotFound(Reason.EXPERIMENT_NOT_FOUND, message, metadata={"experiment": name})
    return known[name]


def _retried(same: Experiment, experiment: Experiment) -> Experiment:
    if same.definition == experiment.definition:
        return same
    message = f"experiment {experiment.name!r} is there already, and differs"
    raise AlreadyExists(Reason.REQUEST_ID_REUSED, message, metadata={"experiment": experiment.name})


def _read(connection: Connection) -> dict[str, Experiment]:
    return {each.name: _decode(each) for each in connection.execute(select(table))}


def _write(connection: Connection, experiment: Experiment) -> None:
    body = asdict(experiment.definition)
    connection.execute(delete(table).where(table.c.name == experiment.name))
    entry = {"name": experiment.name, "created": experiment.created, "ended": experiment.ended}
    connection.execute(insert(table), {**entry, "body": json.dumps(body)})


def _decode(each: Row[Any]) -> Experiment:
    body = json.loads(each.body)
    variants = tuple(Variant(**variant) for variant in body.pop("variants"))
    return Experiment(**{**body, "variants": variants, "created": each.created, "ended": each.ended})
