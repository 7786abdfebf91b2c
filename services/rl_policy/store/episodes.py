"""Episodes: who acted in them, how they ended and what they brought."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, insert, select, update

from services.kit.errors import NotFound, Reason
from services.rl_policy.algorithms.algorithm import Doubles
from services.rl_policy.store.database import Database
from services.rl_policy.store.group_commit import GroupCommit
from services.rl_policy.store.records import Episode, Phase
from services.rl_policy.store.schema import episodes


@dataclass(frozen=True, slots=True)
class _End:
    number: int
    phase: Phase
    steps: int
    total: float
    at: float


class Episodes:
    """The episodes of all policies. Reading blocks; writing is for the process that has the group commit."""

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self._database = database
        self._commits = commits

    def start(self, episode: Episode) -> asyncio.Future[None]:
        """Write a new episode; the future ends when it is on disk."""
        return self._commits.submit(self, episode)

    def end(self, number: int, phase: Phase, steps: int, rewarded: float, at: float) -> asyncio.Future[None]:
        """Write how an episode ended. `rewarded`: the rewards of its steps; those of RewardLog add to it."""
        return self._commits.submit(self, _End(number, phase, steps, rewarded, at))

    def write(self, connection: Connection, items: Sequence[Episode | _End]) -> list[None]:
        """Write beginnings, then ends."""
        begun = [_row(each) for each in items if isinstance(each, Episode)]
        if begun:
            connection.execute(insert(episodes), begun)
        for each in items:
            if isinstance(each, _End):
                connection.execute(_ended(each))
        return [None] * len(items)

    def get(self, number: int) -> Episode:
        """Return an episode; raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(select(episodes).where(episodes.c.number == number)).one_or_none()
        if row is None:
            named = {"episode_id": str(number)}
            raise NotFound(Reason.EPISODE_NOT_FOUND, f"there is no episode {number}", metadata=named)
        return episode_of(row)

    def list(
        self, policy: str, after: int = 0, limit: int = 100, *, running: bool | None = None
    ) -> list[Episode]:
        """Return the policy's episodes above number `after`, in order; `running`: only those, or the rest."""
        found = select(episodes).where(episodes.c.policy == policy, episodes.c.number > after)
        if running is not None:
            found = found.where((episodes.c.phase == Phase.RUNNING) == running)
        with self._database.reading() as connection:
            return [
                episode_of(row) for row in connection.execute(found.order_by(episodes.c.number).limit(limit))
            ]

    def totals(self, policy: str, version: int, purpose: str = "", limit: int = 1_000) -> Doubles:
        """Return the totals of a version's last ended episodes, oldest first: (N,), N up to `limit`."""
        found = select(episodes.c.total).where(
            episodes.c.policy == policy, episodes.c.version == version, episodes.c.phase != Phase.RUNNING
        )
        if purpose:
            found = found.where(episodes.c.purpose == purpose)
        with self._database.reading() as connection:
            newest = connection.scalars(found.order_by(episodes.c.number.desc()).limit(limit)).all()
        return np.array(newest[::-1], np.float64)


def _row(episode: Episode) -> dict[str, Any]:
    values = {each.name: getattr(episode, each.name) for each in fields(Episode)}
    return {**values, "tags": json.dumps(dict(episode.tags))}


def _ended(end: _End) -> Any:
    total = episodes.c.total + end.total
    values = {"phase": end.phase, "steps": end.steps, "total": total, "ended_at": end.at}
    return update(episodes).where(episodes.c.number == end.number).values(values)


def episode_of(row: Row[Any]) -> Episode:
    """Return the episode that a row of the table is."""
    values = row._asdict()
    return Episode(**{**values, "tags": json.loads(values["tags"]), "phase": Phase(values["phase"])})
