"""How many places of a list go to fresh items: as the scenario says, or as a bandit learns from clicks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from math import log1p

from services.kit.bandit import Bandit, Choice
from services.recommender.serving.job import Job
from services.recommender.store.stored import Stored

REMEMBERED = 10_000
"""Lists whose clicks are awaited; older ones count as not clicked."""


class Exploration:
    """Lets a bandit decide on 0 to `fresh_slots` places; without one it does nothing. For one event loop.

    The bandit sees (1, log(1 + items known of the user)). A list is worth 1 when an event names it, else 0.
    """

    def __init__(self, bandit: Bandit | None = None) -> None:
        self._bandit = bandit
        self._awaited: OrderedDict[str, Choice] = OrderedDict()

    async def decide(self, job: Job) -> tuple[Job, Choice | None]:
        """Return the job with its places for fresh items, and the choice where the bandit made it."""
        if self._bandit is None or not job.fresh_slots:
            return job, None
        choice = await self._bandit.choose((1.0, log1p(len(job.taste))), [True] * (job.fresh_slots + 1))
        if choice is None or not 0 <= choice.option <= job.fresh_slots:
            return job, None
        return replace(job, scenario=replace(job.scenario, fresh_slots=choice.option)), choice

    def shown(self, recommendation_id: str, choice: Choice | None) -> None:
        """Await what comes of a list."""
        if choice is None or self._bandit is None:
            return
        self._awaited[recommendation_id] = choice
        if len(self._awaited) > REMEMBERED:
            _, oldest = self._awaited.popitem(last=False)
            self._bandit.reward(oldest, 0.0)

    def record(self, stored: Stored) -> None:
        """Reward the lists that new events name: the log's listener."""
        for event in stored.events:
            choice = self._awaited.pop(event.recommendation_id, None) if event.recommendation_id else None
            if choice is not None and self._bandit is not None:
                self._bandit.reward(choice, 1.0)
