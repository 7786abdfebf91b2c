"""Gymnasium's environments as the learner's loop plays them, and what a policy earns in them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import gymnasium
import numpy as np

from services.rl_policy.algorithms.algorithm import Doubles, Floats, Mode, Policy
from services.rl_policy.learner.lockstep import Frame
from services.rl_policy.spaces import Box, Discrete, Space, compact, mask_size, unpack


def space_of(space: gymnasium.Space[Any]) -> Space:
    """Return gymnasium's Discrete or Box as ours."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    assert isinstance(space, gymnasium.spaces.Box)
    low, high = (tuple(float(each) for each in bound.reshape(-1)) for bound in (space.low, space.high))
    return Box(tuple(space.shape), low or (-inf,), high or (inf,), str(space.dtype))


class GymnasiumEnvironment:
    """One environment by its name; an action mask is taken from `info` where there is one."""

    def __init__(self, name: str) -> None:
        self._environment = gymnasium.make(name, disable_env_checker=True)
        self.observation = space_of(self._environment.observation_space)
        self.action = space_of(self._environment.action_space)
        self._all = np.ones(mask_size(self.action), np.bool_)

    def reset(self, seed: int | None) -> Frame:
        """Begin an episode."""
        observation, info = self._environment.reset(seed=seed)
        return self._frame(observation, info)

    def step(self, action: Floats) -> Frame:
        """Take one step."""
        value: Any = unpack(self.action, action)
        value = int(value) if isinstance(self.action, Discrete) else value
        observation, reward, terminated, truncated, info = self._environment.step(value)
        return self._frame(observation, info, float(reward), bool(terminated), bool(truncated))

    def _frame(self, observation: Any, info: dict[str, Any], *outcome: Any) -> Frame:
        mask = np.asarray(info["action_mask"], np.bool_) if "action_mask" in info else self._all
        return Frame(compact(self.observation, observation), mask, *outcome)


def played(name: str, policy: Policy, episodes: int, seed: int) -> list[float]:
    """Return the returns of greedy episodes; episode i is reset with `seed` + i. All run side by side."""
    environments = [GymnasiumEnvironment(name) for _ in range(episodes)]
    frames = [each.reset(seed + index) for index, each in enumerate(environments)]
    returns = np.zeros(episodes)
    running = list(range(episodes))
    while running:
        rows = np.stack([frames[index].observation for index in running])
        masks = np.stack([frames[index].mask for index in running])
        acted = policy.act(rows, masks, Mode.GREEDY, np.zeros((len(running), policy.draws)))
        for index, action in zip(running, acted.actions, strict=True):
            frames[index] = environments[index].step(action)
            returns[index] += frames[index].reward
        running = [each for each in running if not (frames[each].terminated or frames[each].truncated)]
    return [float(each) for each in returns]


def expected(name: str, policy: Policy) -> float:
    """Return exactly what a greedy policy earns within the time limit, from the environment's own table."""
    environment = gymnasium.make(name)
    inner: Any = environment.unwrapped
    states, actions = environment.observation_space.n, environment.action_space.n  # type: ignore[attr-defined]
    rows = np.arange(states, dtype=np.float32)[:, None]
    masks = np.ones((states, actions), np.bool_)
    if hasattr(inner, "action_mask"):
        masks = np.asarray([inner.action_mask(state) for state in range(states)], np.bool_)
    odds = policy.distribution(rows, masks, Mode.GREEDY)
    table = [[inner.P[state][action] for action in range(actions)] for state in range(states)]
    follow, rewards = _chain(table, odds)
    values = np.zeros(states)
    assert environment.spec is not None
    for _ in range(environment.spec.max_episode_steps or 0):
        values = rewards + follow @ values
    return float(inner.initial_state_distrib @ values)


def _chain(table: Sequence[Sequence[Any]], odds: Doubles) -> tuple[Doubles, Doubles]:
    """Return the policy's transition matrix, without the steps that end an episode, and its rewards."""
    follow, rewards = np.zeros((len(table), len(table))), np.zeros(len(table))
    for state, row in enumerate(table):
        for action, outcomes in enumerate(row):
            for probability, following, reward, ends in outcomes:
                weight = odds[state, action] * probability
                rewards[state] += weight * reward
                follow[state, following] += 0.0 if ends else weight
    return follow, rewards
