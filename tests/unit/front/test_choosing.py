"""A bandit chooses among a model's versions where it is asked to, and never stands in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.front.calls import Task
from gateway.front.choosing import Choosing
from gateway.front.routes import Route, Routes, Version, table
from services.kit.bandit import Choice
from services.kit.errors import NotFound


class Scripted:
    """Chooses what it is told, and remembers what it heard."""

    def __init__(self, option: int | None) -> None:
        self.option = option
        self.asked: list[list[bool]] = []
        self.rewards: list[float] = []

    async def choose(self, context: Sequence[float], allowed: Sequence[bool]) -> Choice | None:
        self.asked.append(list(allowed))
        return None if self.option is None else Choice(self.option, 7, 0.5)

    def reward(self, choice: Choice, value: float) -> None:
        assert choice.decision_id == 7
        self.rewards.append(value)


def _routes() -> Routes:
    found = Routes()
    shares = [("3", 100, ("a:1",)), ("2", 0, ("a:1",)), ("1", 0, ())]
    versions = [Version(name, share, workers, f"digest-{name}", 8_192) for name, share, workers in shares]
    versions.append(Version("4", 1, ("b:1",), "digest-4", 8_192))
    found.replace(table([Route("m", Task.GENERATE, tuple(versions))], ["a:1", "b:1"], 1))
    return found


async def test_the_bandit_chooses_among_versions_that_may_answer() -> None:
    bandit = Scripted(3)
    target, choice = await Choosing(_routes(), lambda _: bandit).choose("m", None, Task.GENERATE)

    assert target.version.name == "4"
    assert bandit.asked == [[False, False, True, True]]
    assert choice is not None


@pytest.mark.parametrize("option", [None, 0, 9])
async def test_a_bandit_that_says_nothing_useful_leaves_it_to_the_shares(option: int | None) -> None:
    target, choice = await Choosing(_routes(), lambda _: Scripted(option)).choose("m", None, Task.GENERATE)

    assert target.version.name in {"3", "4"}
    assert choice is None


async def test_a_version_named_by_the_caller_asks_nobody() -> None:
    bandit = Scripted(2)
    target, choice = await Choosing(_routes(), lambda _: bandit).choose("m", "4", Task.GENERATE)

    assert (target.version.name, choice, bandit.asked) == ("4", None, [])


async def test_without_a_bandit_everything_is_as_before() -> None:
    choosing = Choosing(_routes())
    target, choice = await choosing.choose("m", None, Task.GENERATE)

    assert target.version.name in {"3", "4"}
    assert choice is None
    with pytest.raises(NotFound):
        await choosing.choose("n", None, Task.GENERATE)


async def test_whole_answers_are_rewarded_failures_are_not_and_of_cancelled_calls_nothing_is_said() -> None:
    bandit = Scripted(3)
    choosing = Choosing(_routes(), lambda _: bandit)
    _, choice = await choosing.choose("m", None, Task.GENERATE)

    with choosing.rewarded("m", choice) as answered:
        answered.whole = True
    with pytest.raises(ValueError), choosing.rewarded("m", choice):
        raise ValueError
    with pytest.raises(asyncio.CancelledError), choosing.rewarded("m", choice):
        raise asyncio.CancelledError
    with choosing.rewarded("m", None) as answered:
        answered.whole = True

    assert bandit.rewards == [1.0, 0.0]
