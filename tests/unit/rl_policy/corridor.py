"""A corridor to learn in: a reward at its right end, and a wall on its left that a mask tells of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.rl_policy.algorithms.algorithm import Bools, Floats, Transitions
from services.rl_policy.algorithms.plan import Plan, options_of
from services.rl_policy.learner.lockstep import Frame, Lockstep
from services.rl_policy.spaces import Box, Discrete, Space

PLACES = 7
LIMIT = 40
ACTIONS = 3
"""Left, right, and one that only the right half allows, which does nothing."""
SMALL = {
    "dqn": {
        "hidden": (16,),
        "batch_size": 16,
        "train_interval": 16,
        "gradient_steps": 8,
        "learning_starts": 32,
    },
    "ppo": {"hidden": (16,), "rollout_steps": 64, "batch_size": 32, "epochs": 4},
    "a2c": {"hidden": (16,), "rollout_steps": 32},
    "reinforce": {"hidden": (16,), "rollout_steps": 64},
    "behaviour_cloning": {"hidden": (16,), "train_interval": 32, "batch_size": 16},
}
EVERY = (
    *("q_learning", "sarsa", "expected_sarsa", "double_q", "dqn", "reinforce", "a2c", "ppo"),
    *("linucb", "thompson", "squarecb", "behaviour_cloning"),
)


def plan(algorithm: str, *, seed: int = 3, discrete: bool = True, **options: object) -> Plan:
    """Return a plan for the corridor; the place is its number, or two numbers of a Box."""
    place: Space = Discrete(PLACES) if discrete else Box((2,), (0.0, 0.0), (1.0, 1.0))
    made = options_of(algorithm, {**SMALL.get(algorithm, {}), **options})
    return Plan(algorithm, place, Discrete(ACTIONS), made, 0.9, seed)


class Corridor:
    """Starts at the left; ends at the right, or is cut after LIMIT steps."""

    def __init__(self, observation: Space) -> None:
        self._discrete = isinstance(observation, Discrete)
        self._place = self._steps = 0

    def reset(self, seed: int | None) -> Frame:
        self._place = self._steps = 0
        return self._frame(0.0)

    def step(self, action: Floats) -> Frame:
        self._steps += 1
        assert self._mask()[int(action[0])], "a masked action was chosen"
        self._place += (-1, 1, 0)[int(action[0])]
        return self._frame(float(self._place == PLACES - 1))

    def _mask(self) -> Bools:
        return np.asarray([self._place > 0, True, self._place > PLACES // 2])

    def _frame(self, reward: float) -> Frame:
        where = self._place / (PLACES - 1)
        row = np.asarray([self._place] if self._discrete else [where, where**2], np.float32)
        ended = self._place == PLACES - 1
        return Frame(row, self._mask(), reward, ended, not ended and self._steps >= LIMIT)


class Recorder:
    """A learner that keeps the log of what it observed, too."""

    def __init__(self, learner: object) -> None:
        self._learner = learner
        self.batches: list[Transitions] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._learner, name)

    def observe(self, batch: Transitions) -> None:
        self.batches.append(batch)
        self._learner.observe(batch)


def played(made: Plan, steps: int, environments: int = 2) -> tuple[Recorder, Lockstep]:
    """Return a learner that has played in the corridor, and the loop."""
    recorder = Recorder(made.learner())
    loop = Lockstep(recorder, [Corridor(made.observation) for _ in range(environments)], made.seed)
    loop.play(steps)
    return recorder, loop


def same_state(left: object, right: object) -> bool:
    """Say whether two learners are in the same state, to the bit."""
    one, other = left.state(), right.state()
    return one.keys() == other.keys() and all(
        np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes() for name in one
    )


def learn_all(learner: object, batches: Sequence[Transitions]) -> None:
    """Observe and learn, batch by batch."""
    for batch in batches:
        learner.observe(batch)
        while learner.learn():
            pass
