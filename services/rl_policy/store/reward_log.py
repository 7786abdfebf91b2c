"""Rewards that come after their step: late, in any order, in parts; joined by decision when they are read."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import fsum

import numpy as np
from sqlalchemy import Connection, func, insert, select, update

from services.rl_policy.algorithms.algorithm import Bools, Ints, Transitions
from services.rl_policy.store.group_commit import GroupCommit
from services.rl_policy.store.ids import Ids
from services.rl_policy.store.records import Correction, Joined, Reward
from services.rl_policy.store.schema import episodes, rewards

MAX_ARRIVALS = 65_536
"""Rewards that a reader takes note of at once; the rest comes with its next read."""
_IN_LIST = 500
"""Decisions in one query; SQLite takes 999 parameters at least."""


class RewardLog:
    """Takes rewards in. For one event loop."""

    def __init__(self, commits: GroupCommit, ids: Ids) -> None:
        self._commits = commits
        self._ids = ids

    async def send(self, sent: Sequence[Reward]) -> Joined:
        """Write rewards; return once they are on disk. Those of unknown decisions are left out."""
        unknown = tuple(each.decision_id for each in sent if not self._ids.known(each.decision_id))
        left_out = set(unknown)
        known = [each for each in sent if each.decision_id not in left_out]
        accepted = await self._commits.submit(self, known) if known else 0
        return Joined(accepted, len(known) - accepted, unknown)

    def write(self, connection: Connection, items: Sequence[Sequence[Reward]]) -> list[int]:
        """Write each item's rewards that are new; return how many those were."""
        seen = _present(connection, {each.decision_id for item in items for each in item})
        fresh: list[Reward] = []
        accepted = []
        for item in items:
            before = len(fresh)
            for each in item:
                if (each.decision_id, each.part) not in seen:
                    seen.add((each.decision_id, each.part))
                    fresh.append(each)
            accepted.append(len(fresh) - before)
        if fresh:
            connection.execute(insert(rewards), [_row(each) for each in fresh])
            _add_to_episodes(connection, fresh)
        return accepted


@dataclass(frozen=True)
class Arrivals:
    """The rewards that a reader sees: all up to number `last`; those after its cursor are new to it."""

    last: int
    decisions: Ints
    """(N,) of the new ones, in the order of arrival."""
    values: Sequence[float]

    @classmethod
    def since(cls, connection: Connection, seen: int) -> Arrivals:
        """Return what a reader sees who has seen the rewards up to number `seen`."""
        found = select(rewards.c.sequence, rewards.c.decision_id, rewards.c.value)
        new = connection.execute(
            found.where(rewards.c.sequence > seen).order_by(rewards.c.sequence).limit(MAX_ARRIVALS)
        ).all()
        decisions = np.array([each.decision_id for each in new], np.int64)
        return cls(new[-1].sequence if new else seen, decisions, [each.value for each in new])

    @classmethod
    def until(cls, connection: Connection, last: int | None) -> Arrivals:
        """Return the rewards up to number `last`, or all of them; none of them new."""
        if last is None:
            last = connection.scalar(select(func.max(rewards.c.sequence))) or 0
        return cls(last, np.empty(0, np.int64), ())

    def join(
        self, connection: Connection, transitions: Transitions, settled: Bools
    ) -> tuple[Transitions, Bools]:
        """Return the transitions with their rewards added, and which of them (B,) have their whole reward.

        Sums are exact until they are rounded once (Shewchuk's fsum): the order of arrival leaves no trace.
        """
        parts = self._parts(connection, transitions.decision_id)
        if not parts:
            return transitions, settled.copy()
        total, whole = transitions.reward.copy(), settled.copy()
        for row in np.flatnonzero(np.isin(transitions.decision_id, list(parts))):
            values, final = parts[int(transitions.decision_id[row])]
            total[row] = fsum((total[row], *values))
            whole[row] |= final
        return replace(transitions, reward=total), whole

    def corrections(self, earlier: Iterable[tuple[int, Ints]]) -> tuple[Correction, ...]:
        """Return what is new for decisions that were read before: (first position, decisions) of segments."""
        late: dict[int, list[float]] = {}
        for decision, value in zip(self.decisions.tolist(), self.values, strict=True):
            late.setdefault(decision, []).append(value)
        found = []
        for first, decisions in earlier:
            for row in np.flatnonzero(np.isin(decisions, self.decisions)):
                decision = int(decisions[row])
                found.append(Correction(first + int(row), decision, fsum(late[decision])))
        return tuple(found)

    def _parts(self, connection: Connection, decisions: Ints) -> dict[int, tuple[list[float], bool]]:
        """Return the values by decision, and whether one of them is final."""
        if self.last == 0 or not len(decisions):
            return {}
        found = select(rewards.c.decision_id, rewards.c.value, rewards.c.final).where(
            rewards.c.decision_id.between(int(decisions.min()), int(decisions.max())),
            rewards.c.sequence <= self.last,
        )
        parts: dict[int, tuple[list[float], bool]] = {}
        for decision, value, final in connection.execute(found):
            values, before = parts.get(decision, ([], False))
            parts[decision] = ([*values, value], before or final)
        return parts


def _present(connection: Connection, decisions: Collection[int]) -> set[tuple[int, str]]:
    ordered = sorted(decisions)
    present: set[tuple[int, str]] = set()
    for start in range(0, len(ordered), _IN_LIST):
        some = rewards.c.decision_id.in_(ordered[start : start + _IN_LIST])
        present.update(
            (row[0], row[1])
            for row in connection.execute(select(rewards.c.decision_id, rewards.c.part).where(some))
        )
    return present


def _row(reward: Reward) -> dict[str, object]:
    return {
        "decision_id": reward.decision_id,
        "part": reward.part,
        "value": reward.value,
        "final": reward.final,
        "received_at": time.time(),
    }


def _add_to_episodes(connection: Connection, fresh: Sequence[Reward]) -> None:
    added: dict[int, list[float]] = {}
    for each in fresh:
        if each.episode:
            added.setdefault(each.episode, []).append(each.value)
    for number, values in added.items():
        total = episodes.c.total + fsum(values)
        connection.execute(update(episodes).where(episodes.c.number == number).values(total=total))
