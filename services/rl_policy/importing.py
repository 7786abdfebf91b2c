"""Episodes that were recorded elsewhere become episodes of a policy's log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.rl_policy.accounts import Account
from services.rl_policy.acting import Choice
from services.rl_policy.algorithms.algorithm import Floats
from services.rl_policy.diary import Diary
from services.rl_policy.episodes import Decision, Outcome, Sight, Stage, Step, transitions
from services.rl_policy.served import Served
from services.rl_policy.specification import Specification
from services.rl_policy.store.records import Episode, Phase

MAX_UNSAVED = 64
VARIANT = "imported"


@dataclass(frozen=True)
class ImportedStep:
    """What was seen, done and earned."""

    sight: Sight
    choice: Choice
    reward: float


@dataclass(frozen=True)
class Imported:
    """A whole episode."""

    steps: Sequence[ImportedStep]
    last: Floats
    """What was seen after the last step."""
    terminated: bool
    tags: Mapping[str, str] = field(default_factory=dict)


class Importing:
    """One import into one policy."""

    def __init__(self, served: Served, diary: Diary) -> None:
        self.episodes = 0
        self.transitions = 0
        self._served = served
        self._diary = diary
        self._unsaved: deque[asyncio.Future[tuple[None, int, None]]] = deque()

    @property
    def specification(self) -> Specification:
        """What the policy was created as."""
        return self._served.specification

    async def take(self, episode: Imported) -> None:
        """Write an episode; waits where many are being written.

        Raises FailedPrecondition (TRAINING_STATE) while a rollout has the log for itself.
        """
        self._served.training.check_free()
        number = self._diary.number()
        steps = self._steps(number, episode)
        batch, settled = transitions(steps)
        version = int(batch.policy_version[0])
        account = Account(number, self._served.name, "imported", VARIANT, version)
        now = self._diary.now()
        record = Episode(
            number,
            self._served.name,
            version,
            Stage.TRAINING.value,
            VARIANT,
            tags=dict(episode.tags),
            started_at=now,
        )
        begun = self._diary.begin(self._served, record)
        saved = self._diary.keep(self._served, Stage.TRAINING, batch, settled, [account] * len(steps))
        phase = Phase.TERMINATED if episode.terminated else Phase.TRUNCATED
        ended = self._diary.end(account, phase, len(steps), float(batch.reward.sum()))
        self._unsaved.append(asyncio.gather(begun, saved, ended))
        self.episodes += 1
        self.transitions += len(steps)
        if len(self._unsaved) > MAX_UNSAVED:
            await self._unsaved.popleft()

    async def finish(self) -> None:
        """Return when everything is on disk."""
        await asyncio.gather(*self._unsaved)

    def _steps(self, number: int, episode: Imported) -> list[Step]:
        count = len(episode.steps)
        first = self._diary.number(count)
        everything = np.ones_like(episode.steps[0].sight.mask)
        made = []
        for index, each in enumerate(episode.steps):
            last = index == count - 1
            seen = Sight(episode.last, everything) if last else episode.steps[index + 1].sight
            outcome = Outcome(
                each.reward,
                seen,
                terminated=last and episode.terminated,
                truncated=last and not episode.terminated,
            )
            made.append(Step(number, index, Decision(first + index, each.sight, each.choice), outcome))
        return made
