"""What learners with a table share: states, rates, visits, the order of updates. A Rule says the target."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.rl_policy.algorithms import generator
from services.rl_policy.algorithms.algorithm import Bools, Diverged, Doubles, Ints, Report, State, Transitions
from services.rl_policy.algorithms.options import TabularOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.heads import count_of
from services.rl_policy.algorithms.policies.table import TablePolicy
from services.rl_policy.algorithms.states import States

MOST_WAITING = 65_536
"""Episodes whose next action is awaited; the one that has waited longest is given up beyond that."""


@dataclass(frozen=True)
class Step:
    """One transition between states of a table."""

    state: int
    action: int
    reward: float
    next_state: int
    next_mask: Bools
    terminated: bool
    next_action: int | None
    """What was done then; None where the episode ended or was cut here."""


class Rule(Protocol):
    """What one step teaches."""

    @property
    def tables(self) -> int:
        """How many tables there are; acting goes by their mean."""

    @property
    def waits(self) -> bool:
        """Whether a step is learned from only when the next action is known."""

    def error(self, tables: Doubles, step: Step, epsilon: float, coin: float) -> tuple[int, float]:
        """Return which of `tables` (tables, states, n) to correct, and the target less what it holds.

        `coin` is a uniform number from [0, 1).
        """


class TableLearner:
    """Learns step by step, in the order of the log: Q(s, a) += alpha * error."""

    memory = 0

    def __init__(self, plan: Plan, rule: Rule) -> None:
        options = plan.options
        assert isinstance(options, TabularOptions)  # noqa: S101 - the plan has seen to it
        self._options = options
        self._rule = rule
        self._states = States.of(plan)
        shape = (rule.tables, self._states.count, count_of(plan.action))
        self._tables = np.full(shape, options.initial_value)
        self._visits = np.zeros(shape, np.int64)
        self._random = np.random.default_rng(plan.seed)
        self._queue: deque[tuple[int, bool, Step]] = deque()
        self._waiting: dict[int, Step] = {}
        self._learned = 0
        self._updates = 0

    def observe(self, batch: Transitions) -> None:
        """Take in what comes next in the log."""
        states = self._states.indices(batch.observation).tolist()
        following = self._states.indices(batch.next_observation).tolist()
        actions = batch.action[:, 0].astype(np.int64).tolist()
        ends = (batch.terminated | batch.truncated).tolist()
        rewards, terminated = batch.reward.tolist(), batch.terminated.tolist()
        for row, episode in enumerate(batch.episode.tolist()):
            mask, ended = batch.next_mask[row], terminated[row]
            step = Step(states[row], actions[row], rewards[row], following[row], mask, ended, None)
            self._queue.append((episode, ends[row], step))

    def learn(self) -> Report | None:
        """Learn from the next `publish_interval` transitions, once they are there."""
        if len(self._queue) < self._options.publish_interval:
            return None
        errors = [self._take(*self._queue.popleft()) for _ in range(self._options.publish_interval)]
        size = float(np.mean(np.abs(errors)))
        if not np.isfinite(size):
            raise Diverged("a value of the table is not finite")
        self._updates += 1
        epsilon = self._options.epsilon.at(self._learned)
        return Report(self._learned, self._updates, {"td_error": size, "epsilon": epsilon}, publishes=True)

    def policy(self) -> TablePolicy:
        """Return what acts by the tables as they are."""
        return TablePolicy(self._tables.mean(axis=0), self._options.epsilon.at(self._learned), self._states)

    def state(self) -> State:
        """Return tables, visits, the generator and the steps that wait."""
        return {
            "tables": self._tables.copy(),
            "visits": self._visits.copy(),
            "counters": np.asarray([self._learned, self._updates]),
            "random": generator.saved(self._random),
            **_columns("waiting", [(each, False, step) for each, step in self._waiting.items()]),
            **_columns("queue", list(self._queue)),
        }

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from."""
        arrays = {name: np.asarray(value) for name, value in state.items()}
        self._tables, self._visits = arrays["tables"].copy(), arrays["visits"].copy()
        self._learned, self._updates = arrays["counters"].tolist()
        self._random = generator.restored(arrays["random"])
        self._waiting = {episode: step for episode, _, step in _steps("waiting", arrays)}
        self._queue = deque(_steps("queue", arrays))

    def remember(self, batch: Transitions) -> None:
        """Take nothing back: the table is all there is."""

    def _take(self, episode: int, ends: bool, step: Step) -> float:  # noqa: FBT001 - a row of the queue
        self._learned += 1
        if not self._rule.waits:
            return self._update(step)
        error = 0.0
        if before := self._waiting.pop(episode, None):
            error = self._update(_followed(before, step.action))
        if ends:
            return self._update(step)
        self._waiting[episode] = step
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return error

    def _update(self, step: Step) -> float:
        options = self._options
        epsilon = options.epsilon.at(self._learned)
        coin = self._random.random() if self._rule.tables > 1 else 0.0
        table, error = self._rule.error(self._tables, step, epsilon, coin)
        place = (table, step.state, step.action)
        self._visits[place] += 1
        rate = options.learning_rate.at(self._learned)
        if options.learning_rate_power:
            rate /= float(self._visits[place]) ** options.learning_rate_power
        self._tables[place] += rate * error
        return error


def _followed(step: Step, action: int) -> Step:
    values = {**step.__dict__, "next_action": action}
    return Step(**values)


def _columns(name: str, rows: list[tuple[int, bool, Step]]) -> dict[str, Doubles | Bools | Ints]:
    steps = [step for _, _, step in rows]
    whole = [(e, s.state, s.action, s.next_state, s.terminated, ends) for e, ends, s in rows]
    masks = [step.next_mask for step in steps]
    return {
        f"{name}.whole": np.asarray(whole, np.int64).reshape(-1, 6),
        f"{name}.rewards": np.asarray([step.reward for step in steps], np.float64),
        f"{name}.masks": np.asarray(masks, np.bool_).reshape(len(steps), -1)
        if steps
        else np.zeros((0, 1), bool),
    }


def _steps(name: str, arrays: dict[str, np.ndarray]) -> list[tuple[int, bool, Step]]:
    parts = (arrays[f"{name}.whole"].tolist(), arrays[f"{name}.rewards"].tolist(), arrays[f"{name}.masks"])
    return [
        (episode, bool(ends), Step(state, action, reward, following, mask, bool(terminated), None))
        for (episode, state, action, following, terminated, ends), reward, mask in zip(*parts, strict=True)
    ]
