"""Policies: what they were created as, where they stand, and what befell them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, insert, select, update

from services.kit.errors import Aborted, AlreadyExists, NotFound, Reason
from services.rl_policy.store.database import Database
from services.rl_policy.store.records import Incident, PolicyRecord
from services.rl_policy.store.schema import incidents, policies


class Policies:
    """The policies, in every process alike. Calls block, and are on disk when they return."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, spec: Mapping[str, Any], state: Mapping[str, Any]) -> PolicyRecord:
        """Write a new policy; creating it again with the same spec returns the one that is there.

        Raises AlreadyExists (POLICY_EXISTS) where the spec differs.
        """
        made = PolicyRecord(name, dict(spec), dict(state), 1, time.time())
        with self._database.writing() as connection:
            row = connection.execute(select(policies).where(policies.c.name == name)).one_or_none()
            if row is None:
                connection.execute(insert(policies), _values(made))
                return made
        if _policy(row).spec != made.spec:
            named = {"policy": name}
            raise AlreadyExists(Reason.POLICY_EXISTS, f"there is another policy {name!r}", metadata=named)
        return _policy(row)

    def get(self, name: str) -> PolicyRecord:
        """Return a policy; raises NotFound (POLICY_NOT_FOUND)."""
        with self._database.reading() as connection:
            row = connection.execute(select(policies).where(policies.c.name == name)).one_or_none()
        if row is None:
            raise _missing(name)
        return _policy(row)

    def list(self) -> list[PolicyRecord]:
        """Return all policies by name."""
        with self._database.reading() as connection:
            return [_policy(row) for row in connection.execute(select(policies).order_by(policies.c.name))]

    def change(self, name: str, state: Mapping[str, Any], revision: int) -> PolicyRecord:
        """Write a policy's new state, if it is still at `revision`; return it with its new revision.

        Raises Aborted (REVISION_MISMATCH) where somebody else has changed it, NotFound where it is not there.
        """
        matching = (policies.c.name == name) & (policies.c.revision == revision)
        values = {"state": json.dumps(dict(state)), "revision": revision + 1}
        with self._database.writing() as connection:
            changed = connection.execute(update(policies).where(matching).values(values)).rowcount
            row = connection.execute(select(policies).where(policies.c.name == name)).one_or_none()
        if row is None:
            raise _missing(name)
        if not changed:
            differ = {"expected": str(revision), "actual": str(row.revision)}
            raise Aborted(Reason.REVISION_MISMATCH, f"policy {name!r} has changed", metadata=differ)
        return _policy(row)


class Incidents:
    """What operators should know of. Calls block, and are on disk when they return."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, incident: Incident) -> Incident:
        """Write what happened; return it with its number and, where it had none, its time."""
        at = incident.at or time.time()
        values = {
            "policy": incident.policy,
            "kind": incident.kind,
            "message": incident.message,
            "details": json.dumps(dict(incident.details)),
            "at": at,
        }
        with self._database.writing() as connection:
            key = connection.execute(insert(incidents), values).inserted_primary_key
        assert key is not None  # noqa: S101 - an insert of one row has its key
        return replace(incident, at=at, number=int(key[0]))

    def list(self, policy: str, after: int = 0, limit: int = 100) -> list[Incident]:
        """Return a policy's incidents with numbers above `after`, oldest first."""
        found = select(incidents).where(incidents.c.policy == policy, incidents.c.number > after)
        with self._database.reading() as connection:
            rows = connection.execute(found.order_by(incidents.c.number).limit(limit)).all()
        return [_incident(row) for row in rows]

    def before(self, policy: str, number: int | None = None, limit: int = 100) -> Sequence[Incident]:
        """Return a policy's incidents with numbers below `number` (None: all), newest first."""
        found = select(incidents).where(incidents.c.policy == policy)
        if number is not None:
            found = found.where(incidents.c.number < number)
        with self._database.reading() as connection:
            rows = connection.execute(found.order_by(incidents.c.number.desc()).limit(limit)).all()
        return [_incident(row) for row in rows]


def _incident(row: Row[Any]) -> Incident:
    return Incident(**{**row._asdict(), "details": json.loads(row.details)})


def _values(policy: PolicyRecord) -> dict[str, Any]:
    return {
        "name": policy.name,
        "spec": json.dumps(policy.spec),
        "state": json.dumps(policy.state),
        "revision": policy.revision,
        "created_at": policy.created_at,
    }


def _policy(row: Row[Any]) -> PolicyRecord:
    return PolicyRecord(row.name, json.loads(row.spec), json.loads(row.state), row.revision, row.created_at)


def _missing(name: str) -> NotFound:
    return NotFound(Reason.POLICY_NOT_FOUND, f"there is no policy {name!r}", metadata={"policy": name})
