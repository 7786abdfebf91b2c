"""Plays environments of gymnasium's registry here, to see how well a version does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from services.kit.errors import InvalidArgument, invalid
from services.rl_policy import gymnasium_spaces, spaces
from services.rl_policy.acting import Brain, Rows
from services.rl_policy.algorithms.algorithm import Doubles, Floats, Mode

SIDE_BY_SIDE = 64
MAX_STEPS = 100_000
_FIELD = "built_in.environment_id"


def returns_of(
    brain: Brain, environment_id: str, episodes: int, seed: int, given_up: Callable[[], bool]
) -> Doubles:
    """Return the returns (episodes,) of greedy episodes; episode i is reset with `seed` + i.

    Computes: call it on a thread; it ends early where nobody waits any more. Raises InvalidArgument for an
    environment that is not here, or whose spaces are others.
    """
    totals = np.zeros(episodes)
    for first in range(0, episodes, SIDE_BY_SIDE):
        stop = min(episodes, first + SIDE_BY_SIDE)
        totals[first:stop] = _play(brain, environment_id, range(first, stop), seed, given_up)
    return totals


def _play(
    brain: Brain, environment_id: str, numbers: range, seed: int, given_up: Callable[[], bool]
) -> Doubles:
    environments = [_made(brain, environment_id) for _ in numbers]
    space, action = brain.specification.observation, brain.specification.action
    seen = [
        _row(space, environment.reset(seed=seed + number)[0])
        for environment, number in zip(environments, numbers, strict=True)
    ]
    totals, alive = np.zeros(len(numbers)), list(range(len(numbers)))
    for step in range(MAX_STEPS):
        if not alive or given_up():
            break
        actions = _actions(brain, np.stack([seen[each] for each in alive]), step)
        for each, chosen in zip(tuple(alive), actions, strict=True):
            observation, reward, terminated, truncated, _ = environments[each].step(
                gymnasium_spaces.value(action, chosen)
            )
            seen[each] = _row(space, observation)
            totals[each] += float(reward)
            if terminated or truncated:
                alive.remove(each)
    for environment in environments:
        environment.close()
    return totals


def _actions(brain: Brain, observations: Floats, step: int) -> Floats:
    count = len(observations)
    masks = np.ones((count, spaces.mask_size(brain.specification.action)), np.bool_)
    steps = np.full(count, step, np.int64)
    return brain.act(Rows(observations, masks, Mode.GREEDY, 0, np.arange(count), steps)).actions


def _row(space: spaces.Space, observation: Any) -> Floats:
    return gymnasium_spaces.row(space, observation)


def _made(brain: Brain, environment_id: str) -> Any:
    import gymnasium
    from gymnasium.error import Error

    # Only what gymnasium brings itself: "module:id" would import whatever a request names.
    if ":" in environment_id or environment_id not in gymnasium.registry:
        raise invalid(_FIELD, "is not an environment of gymnasium's registry")
    try:
        environment = gymnasium.make(environment_id)
    except (Error, ImportError) as error:
        raise invalid(_FIELD, "cannot be made here") from error
    try:
        same = (
            gymnasium_spaces.of(environment.observation_space) == brain.specification.observation
            and gymnasium_spaces.of(environment.action_space) == brain.specification.action
        )
    except InvalidArgument:
        same = False
    if not same:
        raise invalid(_FIELD, "has other spaces than the policy")
    return environment
