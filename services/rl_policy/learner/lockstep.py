"""The loop of acting and learning in lock-step: every transition is learned from before the next action.

What plays through the service in lock-step does the same in the same order, and so comes to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.rl_policy.algorithms import draws
from services.rl_policy.algorithms.algorithm import Bools, Floats, Learner, Mode, Report, Transitions


@dataclass(frozen=True)
class Frame:
    """What one environment answered."""

    observation: Floats
    mask: Bools
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


class Environment(Protocol):
    """One environment; observations and actions are compact rows."""

    def reset(self, seed: int | None) -> Frame:
        """Begin an episode; `seed` None goes on with the generator that there is."""

    def step(self, action: Floats) -> Frame:
        """Take one step."""


class Lockstep:
    """Plays several environments side by side with one learner.

    Episodes are numbered in the order in which they begin, from 0; environment i is first reset with
    `seed` + i.
    """

    def __init__(self, learner: Learner, environments: Sequence[Environment], seed: int) -> None:
        self._learner = learner
        self._environments = environments
        self._seed = seed
        self._policy = learner.policy()
        self._version = 0
        self._frames = [each.reset(seed + index) for index, each in enumerate(environments)]
        self._episodes = np.arange(len(environments))
        self._steps = np.zeros(len(environments), np.int64)
        self._begun = len(environments)
        self._returns = np.zeros(len(environments))
        self.taken = 0
        self.returns: list[tuple[int, float]] = []
        """The return of each episode that ended, with how many steps had been taken by then."""

    def play(self, steps: int, watch: Callable[[Report], None] | None = None) -> None:
        """Take at least `steps` further steps, all environments together."""
        until = self.taken + steps
        while self.taken < until:
            self._learner.observe(self._step())
            published = False
            while report := self._learner.learn():
                published |= report.publishes
                if watch:
                    watch(report)
            if published:
                self._policy = self._learner.policy()
                self._version += 1

    def _step(self) -> Transitions:
        before = self._frames
        observations = np.stack([each.observation for each in before])
        masks = np.stack([each.mask for each in before])
        uniforms = draws.uniforms(self._seed, self._episodes, self._steps, self._policy.draws)
        acted = self._policy.act(observations, masks, Mode.EXPLORE, uniforms)
        after = [each.step(action) for each, action in zip(self._environments, acted.actions, strict=True)]
        batch = Transitions(
            episode=self._episodes.copy(),
            step=self._steps.copy(),
            observation=observations,
            action=acted.actions,
            propensity=acted.propensities,
            reward=np.asarray([each.reward for each in after]),
            next_observation=np.stack([each.observation for each in after]),
            terminated=np.asarray([each.terminated for each in after]),
            truncated=np.asarray([each.truncated for each in after]),
            mask=masks,
            next_mask=np.stack([each.mask for each in after]),
            decision_id=np.arange(self.taken, self.taken + len(after)),
            policy_version=np.full(len(after), self._version),
        )
        self._go_on(after, batch)
        return batch

    def _go_on(self, after: list[Frame], batch: Transitions) -> None:
        self.taken += len(after)
        self._steps += 1
        self._returns += batch.reward
        self._frames = after
        for index in np.flatnonzero(batch.terminated | batch.truncated).tolist():
            self.returns.append((self.taken, float(self._returns[index])))
            self._frames[index] = self._environments[index].reset(None)
            self._returns[index], self._steps[index] = 0.0, 0
            self._episodes[index] = self._begun
            self._begun += 1
