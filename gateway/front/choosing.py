"""Which version of a model answers: by its share of the traffic, or by a bandit that learns which is best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.front.calls import Task
from gateway.front.routes import Routes, Target
from services.kit.bandit import Bandit, Choice

CONTEXT = (1.0,)
"""What the bandit sees of a call: nothing but that there is one."""


@dataclass
class Answered:
    """How an answer went; whoever ends it sets `whole`."""

    whole: bool = False


class Choosing:
    """Resolves calls; `bandit_of` gives a model's bandit, None where its traffic is shared by percentages."""

    def __init__(self, routes: Routes, bandit_of: Callable[[str], Bandit | None] = lambda _: None) -> None:
        self._routes = routes
        self._bandit_of = bandit_of

    async def choose(self, model: str, version: str | None, task: Task) -> tuple[Target, Choice | None]:
        """Return what answers, and the bandit's choice where it chose; raises as `Routes.resolve`.

        A bandit is asked where nobody names a version and several can answer. Its options are the versions by
        name; those without a ready worker or a share are not allowed.
        """
        target = self._routes.resolve(model, version, task)
        bandit = self._bandit_of(model)
        if version is not None or bandit is None:
            return target, None
        versions = sorted(self._routes.table.route(model).versions, key=lambda each: each.name)
        allowed = [bool(each.workers and each.traffic_percent) for each in versions]
        if sum(allowed) < 2:
            return target, None
        choice = await bandit.choose(CONTEXT, allowed)
        if choice is None or not (0 <= choice.option < len(versions) and allowed[choice.option]):
            return target, None
        return Target(model, versions[choice.option]), choice

    @contextmanager
    def rewarded(self, model: str, choice: Choice | None) -> Iterator[Answered]:
        """Reward the choice when the block ends: 1 for an answer that is whole, else 0.

        Of a call that its caller gave up nothing is known, and nothing is said.
        """
        answered = Answered()
        try:
            yield answered
        except Exception:
            self._reward(model, choice, 0.0)
            raise
        self._reward(model, choice, float(answered.whole))

    def _reward(self, model: str, choice: Choice | None, value: float) -> None:
        bandit = self._bandit_of(model)
        if choice is not None and bandit is not None:
            bandit.reward(choice, value)
