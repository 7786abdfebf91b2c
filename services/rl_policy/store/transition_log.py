"""The log of transitions: what learning reads, in one order that never changes.

Several calls' transitions become one segment of one commit. A reader gets them in the order of positions and
only with their whole reward: a transition whose reward is awaited holds back what follows, so that rewards
that come late or shuffled teach the same as rewards in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from services.rl_policy.algorithms.algorithm import Bools, Ints, Transitions, joined
from services.rl_policy.store import segments as codec
from services.rl_policy.store.database import Database
from services.rl_policy.store.group_commit import GroupCommit
from services.rl_policy.store.records import Cursor, Released
from services.rl_policy.store.reward_log import Arrivals
from services.rl_policy.store.schema import rewards, segments

MAX_READ = 65_536
"""Transitions that one read answers at most."""


_WHOLE = select(
    segments.c.first, segments.c["count"].label("rows"), segments.c.written_at, segments.c.transitions
)
# Made once: to make a statement costs as much as to run it.
_OF_POLICY = segments.c.policy == bindparam("policy")
_STOP = (
    select(segments.c.first + segments.c["count"])
    .where(_OF_POLICY)
    .order_by(segments.c.first.desc())
    .limit(1)
)
_AT = (
    _WHOLE.where(_OF_POLICY, segments.c.first <= bindparam("position"))
    .order_by(segments.c.first.desc())
    .limit(1)
)
_START = select(func.min(segments.c.first)).where(_OF_POLICY)
_AFTER_SLASH = chr(ord("/") + 1)
_NEXT_LOG = select(func.min(segments.c.policy)).where(
    segments.c.policy > bindparam("last"), segments.c.policy < bindparam("end")
)
_INSERT = insert(segments)


@dataclass(frozen=True, slots=True)
class _Append:
    policy: str
    transitions: Transitions
    settled: Bools


@dataclass(frozen=True, slots=True)
class _Segment:
    first: int
    transitions: Transitions
    settled: Bools
    """(B,): whether a row's own reward is its whole reward, as far as was known when it was written."""
    written_at: float


class TransitionLog:
    """The logs of all policies. Reading blocks; appending is for the process that has the group commit."""

    def __init__(self, database: Database, commits: GroupCommit | None = None) -> None:
        self._database = database
        self._commits = commits

    def append(
        self, policy: str, transitions: Transitions, settled: Bools | None = None
    ) -> asyncio.Future[int]:
        """Write transitions, at least one; the future is the first one's position, once they are on disk.

        `settled` (B,) says whose reward is whole; False: Rewards bring it, or add to it. None: all are.
        """
        if self._commits is None:
            raise RuntimeError("this log was opened for reading")
        if settled is None:
            settled = np.ones(len(transitions), np.bool_)
        return self._commits.submit(self, _Append(policy, transitions, settled))

    def write(self, connection: Connection, items: Sequence[_Append]) -> list[int]:
        """Write the items of each policy as one segment; return the position of each item's first row."""
        by_policy: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            by_policy.setdefault(item.policy, []).append(index)
        positions = [0] * len(items)
        rows = []
        for policy, indices in by_policy.items():
            position = _stop(connection, policy)
            parts = [items[index] for index in indices]
            rows.append(_row(policy, position, parts))
            for index, part in zip(indices, parts, strict=True):
                positions[index] = position
                position += len(part.transitions)
        connection.execute(_INSERT, rows)
        return positions

    def read(self, policy: str, cursor: Cursor, limit: int = 4_096, patience: float = 60.0) -> Released:
        """Return up to `limit` whole transitions from `cursor` on, and corrections of earlier ones.

        A transition that waits for its reward longer than `patience` seconds is whole with what it has.
        """
        limit = min(limit, MAX_READ)
        with self._database.reading() as connection:
            arrivals = Arrivals.since(connection, cursor.rewards)
            corrections = arrivals.corrections(
                (each.first, each.transitions.decision_id)
                for each in _holding(connection, policy, arrivals.decisions, cursor.position)
            )
            parts: list[Transitions] = []
            wanted, waiting = limit, False
            position = first = max(cursor.position, _start(connection, policy))
            while wanted > 0 and not waiting and (segment := _at(connection, policy, position)) is not None:
                rows = _slice(segment, position, wanted)
                whole, ready = arrivals.join(connection, rows.transitions, rows.settled)
                ready |= time.time() - segment.written_at >= patience
                count = len(ready) if ready.all() else int(np.argmin(ready))
                waiting = count < len(ready)
                if count:
                    parts.append(whole[:count])
                position, wanted = position + count, wanted - count
        transitions = joined(parts) if parts else _NO_TRANSITIONS
        after = Cursor(position, arrivals.last)
        return Released(first, transitions, corrections, after, waiting)

    def range(self, policy: str, first: int, stop: int, rewards_until: int | None = None) -> Transitions:
        """Return the transitions from `first` to before `stop`, as far as they are kept, with their rewards.

        `rewards_until`: a Cursor's `rewards`, for the rewards as its reader saw them; None: all there are.
        """
        with self._database.reading() as connection:
            arrivals = Arrivals.until(connection, rewards_until)
            parts = []
            for segment in _overlapping(connection, policy, first, stop):
                rows = _slice(segment, max(first, segment.first), stop - max(first, segment.first))
                parts.append(arrivals.join(connection, rows.transitions, rows.settled)[0])
        return joined(parts) if parts else _NO_TRANSITIONS

    def bounds(self, policy: str) -> tuple[int, int]:
        """Return the first position that is kept and the one after the last."""
        with self._database.reading() as connection:
            return _start(connection, policy), _stop(connection, policy)

    def names(self, policy: str) -> list[str]:
        """Return a policy's logs: its own, and those called `POLICY/…`, which learning does not read."""
        found = [policy]
        last = f"{policy}/"
        with self._database.reading() as connection:
            while (
                name := connection.scalar(_NEXT_LOG, {"last": last, "end": f"{policy}{_AFTER_SLASH}"})
            ) is not None:
                found.append(name)
                last = name
        return found

    def first_since(self, policy: str, decision: int) -> int:
        """Return a position before which no transition has `decision` or a later one."""
        found = select(func.min(segments.c.first)).where(
            segments.c.policy == policy, segments.c.highest_decision >= decision
        )
        with self._database.reading() as connection:
            first = connection.scalar(found)
            return _stop(connection, policy) if first is None else int(first)

    def trim(self, policy: str, keep: int) -> int:
        """Forget segments, and their rewards, before the last `keep` transitions; return how many rows."""
        with self._database.writing() as connection:
            bound = _stop(connection, policy) - keep
            old = (segments.c.policy == policy) & (segments.c.first + segments.c["count"] <= bound)
            gone = connection.execute(
                select(func.sum(segments.c["count"]), func.max(segments.c.highest_decision)).where(old)
            ).one()
            if gone[0] is None:
                return 0
            for segment in _overlapping(connection, policy, 0, bound):
                if segment.first + len(segment.transitions) <= bound:
                    _forget_rewards(connection, segment.transitions.decision_id)
            connection.execute(delete(segments).where(old))
            return int(gone[0])


def _row(policy: str, position: int, parts: Sequence[_Append]) -> dict[str, object]:
    transitions = joined([part.transitions for part in parts]) if len(parts) > 1 else parts[0].transitions
    settled = np.concatenate([part.settled for part in parts])
    return {
        "policy": policy,
        "first": position,
        "count": len(transitions),
        "lowest_decision": int(transitions.decision_id.min()),
        "highest_decision": int(transitions.decision_id.max()),
        "unsettled": int(len(settled) - np.count_nonzero(settled)),
        "written_at": time.time(),
        "transitions": codec.encode(transitions, settled),
    }


def _start(connection: Connection, policy: str) -> int:
    """Return the first position that is kept."""
    return connection.scalar(_START, {"policy": policy}) or 0


def _stop(connection: Connection, policy: str) -> int:
    """Return the position after the last."""
    return connection.scalar(_STOP, {"policy": policy}) or 0


def _at(connection: Connection, policy: str, position: int) -> _Segment | None:
    """Return the segment that holds `position`; None at the end, and where it is not kept any more."""
    row = connection.execute(_AT, {"policy": policy, "position": position}).one_or_none()
    return _segment(row) if row is not None and row.first + row.rows > position else None


def _overlapping(connection: Connection, policy: str, first: int, stop: int) -> Iterator[_Segment]:
    """Yield the segments with any of the positions `first` to `stop` - 1, in order."""
    before = select(func.max(segments.c.first)).where(segments.c.policy == policy, segments.c.first <= first)
    start = connection.scalar(before) or 0
    found = _WHOLE.where(segments.c.policy == policy, segments.c.first >= start, segments.c.first < stop)
    for row in connection.execute(found.order_by(segments.c.first)):
        if row.first + row.rows > first:
            yield _segment(row)


def _holding(connection: Connection, policy: str, decisions: Ints, before: int) -> Iterator[_Segment]:
    """Yield the segments that may hold one of the decisions at a position under `before`."""
    if not len(decisions):
        return
    found = _WHOLE.where(
        segments.c.policy == policy,
        segments.c.first < before,
        segments.c.highest_decision >= int(decisions.min()),
        segments.c.lowest_decision <= int(decisions.max()),
    )
    for row in connection.execute(found.order_by(segments.c.first)):
        yield _slice(_segment(row), row.first, before - row.first)


def _segment(row: Any) -> _Segment:
    transitions, settled = codec.decode(row.transitions)
    return _Segment(row.first, transitions, settled, row.written_at)


def _slice(segment: _Segment, first: int, count: int) -> _Segment:
    """Return the part from position `first` on, of `count` rows at most."""
    rows = slice(first - segment.first, first - segment.first + count)
    return replace(segment, first=first, transitions=segment.transitions[rows], settled=segment.settled[rows])


def _forget_rewards(connection: Connection, decisions: Ints) -> None:
    ordered = decisions.tolist()
    for start in range(0, len(ordered), 500):
        connection.execute(delete(rewards).where(rewards.c.decision_id.in_(ordered[start : start + 500])))


def _no_transitions() -> Transitions:
    rows, none = np.empty((0, 0), np.float32), np.empty(0)
    numbers, flags, masks = np.empty(0, np.int64), np.empty(0, np.bool_), np.empty((0, 0), np.bool_)
    return Transitions(
        episode=numbers,
        step=numbers,
        observation=rows,
        action=np.empty((0, 0), np.int64),
        propensity=none,
        reward=none,
        next_observation=rows,
        terminated=flags,
        truncated=flags,
        mask=masks,
        next_mask=masks,
        decision_id=numbers,
        policy_version=numbers,
    )


_NO_TRANSITIONS = _no_transitions()
