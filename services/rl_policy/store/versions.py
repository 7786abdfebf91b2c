"""Versions: immutable weights that act, with the checkpoint that learning goes on from, in one commit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from services.kit.errors import Aborted, NotFound, Reason
from services.rl_policy.algorithms.algorithm import Array, State
from services.rl_policy.store.database import Database
from services.rl_policy.store.records import Cursor, Version
from services.rl_policy.store.schema import version_arrays, versions

_WEIGHTS = "weights"
_CHECKPOINT = "checkpoint"


class Versions:
    """The versions of all policies, in every process alike. Calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, version: Version, weights: Mapping[str, Array], state: State | None = None) -> Version:
        """Write a version, its weights and the learner's state, all or nothing; return it with its number.

        A number that it has must be above all others; 0 gives it the next. What was read of the log stands in
        `version.cursor`. On disk when it returns. Raises Aborted (REVISION_MISMATCH) where
        another version came first.
        """
        data = save(dict(weights))
        version = replace(version, digest=hashlib.sha256(data).hexdigest(), created_at=time.time())
        with self._database.writing() as connection:
            last = connection.scalar(
                select(func.max(versions.c.number)).where(versions.c.policy == version.policy)
            )
            if version.number and version.number <= (last or 0):
                differ = {"expected": str(version.number), "actual": str(last)}
                raise Aborted(Reason.REVISION_MISMATCH, f"version {last} came first", metadata=differ)
            version = replace(version, number=version.number or (last or 0) + 1)
            connection.execute(insert(versions), _values(version))
            _put(connection, version, _WEIGHTS, data)
            if state is not None:
                _put(connection, version, _CHECKPOINT, _packed(state))
        return version

    def get(self, policy: str, number: int) -> Version:
        """Return a version; raises NotFound (VERSION_NOT_FOUND)."""
        with self._database.reading() as connection:
            row = connection.execute(_one(policy, number)).one_or_none()
        if row is None:
            raise _missing(policy, number)
        return _version(row)

    def list(self, policy: str, after: int = 0, limit: int = 100) -> list[Version]:
        """Return the policy's versions with numbers above `after`, in order."""
        found = select(versions).where(versions.c.policy == policy, versions.c.number > after)
        with self._database.reading() as connection:
            return [
                _version(row) for row in connection.execute(found.order_by(versions.c.number).limit(limit))
            ]

    def before(self, policy: str, number: int | None = None, limit: int = 100) -> Sequence[Version]:
        """Return the versions with numbers below `number` (None: all), newest first."""
        found = select(versions).where(versions.c.policy == policy)
        if number is not None:
            found = found.where(versions.c.number < number)
        found = found.order_by(versions.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_version(row) for row in connection.execute(found)]

    def newest(self, policy: str, *, resumable: bool = False) -> Version | None:
        """Return the newest version without a fault, None without any; `resumable`: with a checkpoint."""
        found = select(versions).where(versions.c.policy == policy, versions.c.fault == "")
        if resumable:
            kept = select(version_arrays.c.number).where(
                version_arrays.c.policy == policy, version_arrays.c.kind == _CHECKPOINT
            )
            found = found.where(versions.c.number.in_(kept))
        with self._database.reading() as connection:
            row = connection.execute(found.order_by(versions.c.number.desc()).limit(1)).one_or_none()
        return None if row is None else _version(row)

    def weights(self, policy: str, number: int) -> dict[str, Array]:
        """Return what `Policy.weights` gave; raises NotFound (VERSION_NOT_FOUND)."""
        return dict(load(self._arrays(policy, number, _WEIGHTS)))

    def weight_bytes(self, policy: str, number: int) -> bytes:
        """Return the weights as a safetensors file, with the version's digest; raises NotFound."""
        return self._arrays(policy, number, _WEIGHTS)

    def checkpoint(self, policy: str, number: int) -> State:
        """Return what `Learner.state` gave; raises NotFound where the version has none, or none any more."""
        return _unpacked(self._arrays(policy, number, _CHECKPOINT))

    def fault(self, policy: str, number: int, why: str) -> None:
        """Mark a version as one that must not act, and why; raises NotFound."""
        chosen = (versions.c.policy == policy) & (versions.c.number == number)
        with self._database.writing() as connection:
            changed = connection.execute(update(versions).where(chosen).values(fault=why)).rowcount
        if not changed:
            raise _missing(policy, number)

    def trim(self, policy: str, keep: int) -> int:
        """Forget the checkpoints, not the weights, of all versions but the last `keep`; return how many."""
        kept = select(version_arrays.c.number).where(
            version_arrays.c.policy == policy, version_arrays.c.kind == _CHECKPOINT
        )
        with self._database.writing() as connection:
            numbers = connection.scalars(kept.order_by(version_arrays.c.number.desc()).offset(keep)).all()
            old = version_arrays.c.number.in_(numbers) & (version_arrays.c.kind == _CHECKPOINT)
            connection.execute(delete(version_arrays).where(version_arrays.c.policy == policy, old))
        return len(numbers)

    def _arrays(self, policy: str, number: int, kind: str) -> bytes:
        found = select(version_arrays.c.arrays).where(
            version_arrays.c.policy == policy,
            version_arrays.c.number == number,
            version_arrays.c.kind == kind,
        )
        with self._database.reading() as connection:
            data = connection.scalar(found)
        if data is None:
            raise _missing(policy, number)
        return bytes(data)


def _put(connection: Connection, version: Version, kind: str, data: bytes) -> None:
    values = {"policy": version.policy, "number": version.number, "kind": kind, "arrays": data}
    connection.execute(insert(version_arrays), values)


def _packed(state: State) -> bytes:
    """Return a checkpoint as a safetensors file; scalars stand in its header, as JSON."""
    arrays = {name: each for name, each in state.items() if isinstance(each, np.ndarray)}
    scalars = {name: each for name, each in state.items() if not isinstance(each, np.ndarray)}
    return save(arrays, metadata={"scalars": json.dumps(scalars)})


def _unpacked(data: bytes) -> State:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {**load(data), **json.loads(header.get("__metadata__", {}).get("scalars", "{}"))}


def _one(policy: str, number: int) -> Any:
    return select(versions).where(versions.c.policy == policy, versions.c.number == number)


def _values(version: Version) -> dict[str, Any]:
    manifest = {
        each.name: getattr(version, each.name)
        for each in fields(Version)
        if each.name not in {"policy", "number", "fault", "created_at"}
    }
    plain = {**manifest, "cursor": asdict(version.cursor), "metrics": dict(version.metrics)}
    return {
        "policy": version.policy,
        "number": version.number,
        "manifest": json.dumps({**plain, "config": dict(version.config)}),
        "fault": version.fault,
        "created_at": version.created_at,
    }


def _version(row: Row[Any]) -> Version:
    manifest = json.loads(row.manifest)
    manifest["cursor"] = Cursor(**manifest["cursor"])
    return Version(
        policy=row.policy, number=row.number, fault=row.fault, created_at=row.created_at, **manifest
    )


def _missing(policy: str, number: int) -> NotFound:
    named = {"model": policy, "version": str(number)}
    return NotFound(Reason.VERSION_NOT_FOUND, f"policy {policy!r} has no version {number}", metadata=named)
