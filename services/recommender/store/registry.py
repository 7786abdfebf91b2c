"""Model versions: what was trained when, from what, how good it is, and which one serves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from time import time
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from services.kit.errors import AlreadyExists, FailedPrecondition, NotFound, Reason, invalid
from services.recommender.store.database import Database
from services.recommender.store.schema import erasures
from services.recommender.store.schema import versions as table

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MANIFEST = "manifest.json"
"""Written last into a version's folder: where it stands, the version is whole."""


class Stage(StrEnum):
    """What a version is good for."""

    CANDIDATE = "candidate"
    """Trained, not yet promoted."""
    LIVE = "live"
    """The one that serves; at most one a model."""
    RETIRED = "retired"
    """Was live; a rollback may bring it back."""
    FAILED = "failed"
    """Its files are broken or it did not pass a gate; never served again."""


@dataclass(frozen=True)
class Version:
    """One trained version. Its folder holds manifest.json and the arrays; it is never changed."""

    name: str
    model: str = "default"
    """What it is a version of: scenarios name models."""
    stage: Stage = Stage.CANDIDATE
    created: float = 0.0
    promoted: float = 0.0
    """When it first became live; 0: never."""
    sequence: int = 0
    """The last event that it was trained from."""
    note: str = ""
    """Why it failed or was rolled back."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """As in manifest.json: kinds, hyper-parameters, metrics, data, digests."""
    erased_since: int = 0
    """How many removals there were since of events it was trained from: it must be trained again."""


class Registry:
    """The versions of all models. The folders stand under `folder`, one a version."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the folder of a version."""
        return self.folder / name

    async def add(self, version: Version) -> None:
        """Enter a version whose folder is complete; 0 as its time is now.

        Raises AlreadyExists (REQUEST_ID_REUSED), InvalidArgument (its name).
        """
        if not _NAME.fullmatch(version.name):
            raise invalid("version", f"must match ^{_NAME.pattern}$")
        entry = _encode(version if version.created else replace(version, created=time()))

        def work(connection: Connection) -> None:
            if connection.execute(select(table.c.name).where(table.c.name == version.name)).first():
                message = f"there is a version {version.name!r} already"
                raise AlreadyExists(Reason.REQUEST_ID_REUSED, message, metadata={"version": version.name})
            connection.execute(insert(table), entry)

        await self._database.writing(work)

    async def get(self, name: str) -> Version:
        """Return the version; raises NotFound (VERSION_NOT_FOUND)."""
        return await self._database.reading(lambda connection: _get(connection, name))

    async def list(self, model: str = "") -> Sequence[Version]:
        """Return the versions of a model, or of all, the newest first."""
        return await self._database.reading(lambda connection: _all(connection, model))

    async def live(self, model: str = "default") -> Version | None:
        """Return the version that serves."""
        return next((each for each in await self.list(model) if each.stage is Stage.LIVE), None)

    async def good(self, model: str = "default") -> Sequence[Version]:
        """Return what may serve and has its files here: the live one, then those that were before it."""
        there = [each for each in await self.list(model) if (self.path(each.name) / MANIFEST).is_file()]
        live = next((each for each in there if each.stage is Stage.LIVE), None)
        before = [each for each in there if each.stage is Stage.RETIRED and not each.note]
        before.sort(key=lambda each: each.promoted, reverse=True)
        return [*([live] if live else []), *before]

    async def promote(self, name: str) -> Version:
        """Make a version live and retire the one that was; one that is live stays so.

        Raises NotFound (VERSION_NOT_FOUND), FailedPrecondition (VERSION_UNUSABLE: it failed).
        """

        def work(connection: Connection) -> Version:
            version = _get(connection, name)
            if version.stage is Stage.FAILED:
                message = f"version {name!r} failed: {version.note}"
                raise FailedPrecondition(Reason.VERSION_UNUSABLE, message, metadata={"version": name})
            if version.stage is not Stage.LIVE:
                _retire(connection, version.model)
                _set(connection, name, stage=Stage.LIVE, promoted=_moment(connection, version.model), note="")
            return _get(connection, name)

        return await self._database.writing(work)

    async def rollback(self, model: str = "default", note: str = "") -> Version:
        """Make the version live that was so before, and retire the one that is with the note.

        Again goes further back. Raises FailedPrecondition (VERSION_UNUSABLE) where there is none.
        """

        def work(connection: Connection) -> Version:
            versions = _all(connection, model)
            live = next((each for each in versions if each.stage is Stage.LIVE), None)
            before = [each for each in versions if _is_before(each, live)]
            if not before:
                message = f"no version of {model!r} was live before"
                raise FailedPrecondition(Reason.VERSION_UNUSABLE, message, metadata={"model": model})
            chosen = max(before, key=lambda each: each.promoted)
            if live is not None:
                _set(connection, live.name, stage=Stage.RETIRED, note=note or "rolled back")
            _set(connection, chosen.name, stage=Stage.LIVE)
            return _get(connection, chosen.name)

        return await self._database.writing(work)

    async def fail(self, name: str, note: str) -> None:
        """Mark a version as not to be served. Raises NotFound."""

        def work(connection: Connection) -> None:
            _get(connection, name)
            _set(connection, name, stage=Stage.FAILED, note=note)

        await self._database.writing(work)

    async def prune(self, keep: int = 5) -> Sequence[str]:
        """Delete all but the live version and the `keep` newest of each model; return their names."""
        newest: dict[str, int] = {}
        gone = []
        for each in await self.list():
            newest[each.model] = newest.get(each.model, 0) + 1
            if newest[each.model] > keep and each.stage is not Stage.LIVE:
                gone.append(each.name)
        query = delete(table).where(table.c.name.in_(gone), table.c.stage != Stage.LIVE)
        await self._database.writing(lambda connection: connection.execute(query))
        for name in gone:
            shutil.rmtree(self.path(name), ignore_errors=True)
        return gone


def holding(connection: Connection, first_sequence: int, until: int) -> tuple[str, ...]:
    """Return the versions trained from events from `first_sequence` on, by what they read before `until`."""
    query = select(table.c.name).where(table.c.sequence >= first_sequence, table.c.sequence < until)
    return tuple(connection.scalars(query.where(table.c.stage != Stage.FAILED).order_by(table.c.created)))


def _is_before(version: Version, live: Version | None) -> bool:
    was = version.stage is Stage.RETIRED and version.promoted > 0
    return was and (live is None or version.promoted < live.promoted)


def _all(connection: Connection, model: str) -> list[Version]:
    query = _query().order_by(table.c.created.desc(), table.c.name.desc())
    found = connection.execute(query.where(table.c.model == model) if model else query)
    return [_decode(each) for each in found]


def _get(connection: Connection, name: str) -> Version:
    found = connection.execute(_query().where(table.c.name == name)).first()
    if found is None:
        message = f"there is no version {name!r}"
        raise NotFound(Reason.VERSION_NOT_FOUND, message, metadata={"version": name})
    return _decode(found)


def _query() -> Any:
    holds = (erasures.c.first_sequence <= table.c.sequence) & (table.c.sequence < erasures.c.sequence)
    erased = select(func.count()).select_from(erasures).where(holds).scalar_subquery()
    return select(table, erased.label("erased"))


def _set(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(table).where(table.c.name == name).values(**values))


def _retire(connection: Connection, model: str) -> None:
    live = (table.c.model == model) & (table.c.stage == Stage.LIVE)
    connection.execute(update(table).where(live).values(stage=Stage.RETIRED))


def _moment(connection: Connection, model: str) -> float:
    """Return now, but after all earlier promotions, whatever the clock did."""
    latest = connection.scalar(select(func.max(table.c.promoted)).where(table.c.model == model))
    return max(time(), (latest or 0.0) + 1e-3)


def _encode(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "model": version.model,
        "stage": version.stage,
        "created": version.created,
        "promoted": version.promoted,
        "sequence": version.sequence,
        "note": version.note,
        "manifest": json.dumps(dict(version.manifest)),
    }


def _decode(each: Row[Any]) -> Version:
    return Version(
        name=each.name,
        model=each.model,
        stage=Stage(each.stage),
        created=each.created,
        promoted=each.promoted,
        sequence=each.sequence,
        note=each.note,
        manifest=json.loads(each.manifest),
        erased_since=each.erased,
    )
