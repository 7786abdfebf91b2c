"""Whole episodes, for whoever takes them away, brings them, or judges a policy by them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from services.rl_policy.algorithms.algorithm import Transitions, joined
from services.rl_policy.store.database import Database
from services.rl_policy.store.episodes import episode_of
from services.rl_policy.store.records import Episode, Phase
from services.rl_policy.store.schema import episodes
from services.rl_policy.store.transition_log import TransitionLog

_STRETCH = 16_384
"""Transitions looked through at a time."""


@dataclass(frozen=True)
class Recording:
    """An episode that has ended, and all its steps in order."""

    episode: Episode
    transitions: Transitions


class Recordings:
    """Finds the episodes of a log. Calls block."""

    def __init__(self, database: Database, log: TransitionLog) -> None:
        self._database = database
        self._log = log

    def page(
        self,
        policy: str,
        after: int = 0,
        limit: int = 64,
        *,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
    ) -> tuple[list[Recording], int]:
        """Return episodes that have ended above number `after`, in order, and the number to go on after.

        `tags` and `version` (one that acted in the episode's first step) leave others out, so that a page may
        be empty; the number is 0 at the end.
        """
        found = (
            select(episodes)
            .where(episodes.c.policy == policy, episodes.c.number > after, episodes.c.phase != Phase.RUNNING)
            .order_by(episodes.c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            listed = [episode_of(row) for row in connection.execute(found)]
        wanted = [each for each in listed if _has(each, tags or {})]
        chosen = [each for each in self.of(policy, wanted) if version is None or _acted(each, version)]
        return chosen, listed[-1].number if len(listed) == limit else 0

    def newest(self, policy: str, count: int, version: int | None = None) -> list[Recording]:
        """Return the last `count` episodes that have ended, oldest first; `version`: those it acted in."""
        found = (
            select(episodes)
            .where(episodes.c.policy == policy, episodes.c.phase != Phase.RUNNING, episodes.c.steps > 0)
            .order_by(episodes.c.number.desc())
            .limit(count)
        )
        with self._database.reading() as connection:
            listed = [episode_of(row) for row in connection.execute(found)]
        whole = self.of(policy, listed[::-1])
        return [each for each in whole if version is None or _acted(each, version)]

    def of(self, policy: str, wanted: Sequence[Episode]) -> list[Recording]:
        """Return the recordings of these episodes, without those whose steps are not all kept any more."""
        steps: dict[int, Transitions] = {}
        for log in self._log.names(policy):
            steps |= self._steps(log, [each for each in wanted if each.number not in steps])
        return [
            Recording(each, steps[each.number])
            for each in wanted
            if each.number in steps and len(steps[each.number]) == each.steps
        ]

    def _steps(self, log: str, wanted: Collection[Episode]) -> dict[int, Transitions]:
        """Return the transitions by episode. An episode's decisions have higher numbers than itself."""
        missing = sum(each.steps for each in wanted)
        if not missing:
            return {}
        numbers = np.array([each.number for each in wanted], np.int64)
        position, stop = self._log.first_since(log, int(numbers.min())), self._log.bounds(log)[1]
        parts: list[Transitions] = []
        while position < stop and missing > 0:
            some = self._log.range(log, position, min(position + _STRETCH, stop))
            part = some[np.isin(some.episode, numbers)]
            parts.append(part)
            missing -= len(part)
            position += _STRETCH
        return by_episode(joined(parts)) if parts else {}


def by_episode(transitions: Transitions) -> dict[int, Transitions]:
    """Return the transitions of each episode, in the order of their steps."""
    ordered = transitions[np.lexsort((transitions.step, transitions.episode))]
    numbers, firsts = np.unique(ordered.episode, return_index=True)
    bounds = [*firsts.tolist(), len(ordered)]
    return {int(number): ordered[bounds[index] : bounds[index + 1]] for index, number in enumerate(numbers)}


def _has(episode: Episode, tags: Mapping[str, str]) -> bool:
    return all(episode.tags.get(name) == value for name, value in tags.items())


def _acted(recording: Recording, version: int) -> bool:
    return bool((recording.transitions.policy_version == version).any())
