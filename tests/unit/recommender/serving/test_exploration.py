"""The places of fresh items as a bandit's choice: rewarded by clicks; without a word, the scenario's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from services.kit.bandit import Choice
from services.recommender.entities import Event
from services.recommender.serving import exploration
from services.recommender.serving.configuration import Scenario
from services.recommender.serving.exploration import Exploration


@dataclass
class Scripted:
    """Chooses what it is told, and remembers what it heard."""

    option: int | None
    allowed: list[list[bool]] = field(default_factory=list)
    rewards: list[tuple[int, float]] = field(default_factory=list)
    made: int = 0

    async def choose(self, context: Sequence[float], allowed: Sequence[bool]) -> Choice | None:
        self.allowed.append(list(allowed))
        self.made += 1
        return None if self.option is None else Choice(self.option, self.made, 0.5)

    def reward(self, choice: Choice, value: float) -> None:
        self.rewards.append((choice.decision_id, value))


@dataclass(frozen=True)
class Wish:
    """As much of a job as matters here."""

    scenario: Scenario = field(default_factory=lambda: Scenario("home", {"ease": 1.0}, fresh_slots=2))
    taste: Sequence[int] = (1, 2, 3)

    @property
    def fresh_slots(self) -> int:
        return self.scenario.fresh_slots


def _named(*recommendation_ids: str) -> Any:
    return SimpleNamespace(
        events=[Event("e", "click", "i", recommendation_id=each) for each in recommendation_ids]
    )


async def _decided(chosen: Exploration, wish: Any = Wish()) -> tuple[int, Choice | None]:
    job, choice = await chosen.decide(wish)
    return job.fresh_slots, choice


async def test_the_bandit_says_how_many_places_and_hears_of_the_click():
    bandit = Scripted(0)
    chosen = Exploration(bandit)

    slots, choice = await _decided(chosen)
    chosen.shown("list-1", choice)
    chosen.record(_named("", "other", "list-1", "list-1"))

    assert slots == 0
    assert bandit.allowed == [[True, True, True]]
    assert bandit.rewards == [(1, 1.0)]


async def test_lists_that_nobody_clicked_are_worth_nothing_once_they_are_old(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exploration, "REMEMBERED", 1)
    bandit = Scripted(1)
    chosen = Exploration(bandit)
    for name in ("list-1", "list-2"):
        chosen.shown(name, (await _decided(chosen))[1])

    assert bandit.rewards == [(1, 0.0)]


@pytest.mark.parametrize("bandit", [None, Scripted(None), Scripted(7)])
async def test_without_a_word_from_the_bandit_it_is_as_the_scenario_says(bandit: Scripted | None):
    assert await _decided(Exploration(bandit)) == (2, None)


async def test_a_scenario_without_places_asks_nobody():
    bandit = Scripted(0)
    wish = Wish(Scenario("home", {"ease": 1.0}, fresh_slots=0))

    assert await _decided(Exploration(bandit), wish) == (0, None)
    assert bandit.allowed == []
