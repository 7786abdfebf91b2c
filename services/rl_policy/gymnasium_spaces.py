"""Gymnasium's spaces and values as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.kit.errors import invalid
from services.rl_policy import spaces
from services.rl_policy.spaces import Box, Dict, Discrete, Floats, MultiDiscrete, Space, Value


def of(space: Any) -> Space:
    """Return a space of gymnasium's as ours; raises InvalidArgument for a kind that has none."""
    from gymnasium import spaces as theirs

    match space:
        case theirs.Discrete():
            return Discrete(int(space.n), int(space.start))
        case theirs.MultiDiscrete():
            return MultiDiscrete(tuple(int(each) for each in space.nvec.reshape(-1)))
        case theirs.MultiBinary():
            return MultiDiscrete((2,) * int(np.prod(space.shape)))
        case theirs.Box():
            return _box(space)
        case theirs.Tuple():
            return Dict(tuple((f"{index:03d}", of(each)) for index, each in enumerate(space.spaces)))
        case theirs.Dict():
            return Dict(tuple((name, of(space.spaces[name])) for name in sorted(space.spaces)))
    raise invalid("space", f"of the kind {type(space).__name__} cannot be sent")


def row(space: Space, observation: Any) -> Floats:
    """Return an observation of gymnasium's as a compact row.

    Environments leave their own bounds now and then (LunarLander's lander tumbles beyond them): elements of a
    box are cut to its bounds.
    """
    return spaces.compact(space, _within(space, observation))


def value(space: Space, action: Floats) -> Any:
    """Return an action, a compact row, as gymnasium takes it."""
    made = spaces.unpack(space, action)
    if isinstance(space, Discrete):
        assert isinstance(made, np.ndarray)  # noqa: S101 - what `unpack` returns for one
        return int(made)
    return made


def _within(space: Space, observation: Any) -> Value:
    if isinstance(space, Dict):
        parts = (
            observation
            if isinstance(observation, Mapping)
            else {f"{index:03d}": each for index, each in enumerate(observation)}
        )
        return {name: _within(each, parts[name]) for name, each in space.spaces}
    array = np.asarray(observation)
    if isinstance(space, MultiDiscrete):
        return array.reshape(-1)
    if not isinstance(space, Box):
        return array
    low = np.asarray(space.low, np.float32).reshape(space.shape if len(space.low) > 1 else (1,))
    high = np.asarray(space.high, np.float32).reshape(space.shape if len(space.high) > 1 else (1,))
    return np.clip(array.astype(np.float32), low, high).reshape(space.shape)


def _box(space: Any) -> Box:
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    return Box(tuple(space.shape), _short(low), _short(high), str(np.dtype(space.dtype).name))


def _short(bounds: Any) -> tuple[float, ...]:
    """Return bounds, as one value where all elements share it."""
    values = tuple(float(each) for each in bounds)
    return values[:1] if len(set(values)) == 1 else values
