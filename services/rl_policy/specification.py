"""What a policy was created as: its environment, how it learns, and what it must never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import inf, isfinite
from typing import Any

import numpy as np

from services.kit.errors import invalid
from services.rl_policy import spaces
from services.rl_policy.algorithms.options import TabularOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.spaces import Box, Dict, Floats

MAX_STEPS = 1 << 20
MAX_WEIGHTS = 1 << 24
"""Numbers of a table or a network: 64 MiB of float32, with a few times that while it learns."""
MAX_MEMORY = 1 << 31
"""Bytes of the transitions that a learner keeps."""


@dataclass(frozen=True)
class Safety:
    """What a policy must never do."""

    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    min_reward: float | None = None
    max_reward: float | None = None
    greedy_when_live: bool = False


@dataclass(frozen=True)
class Specification:
    """Everything that CreatePolicy says; it never changes. Raises InvalidArgument with the field's path."""

    environment: str
    plan: Plan
    max_steps: int = MAX_STEPS
    safety: Safety = Safety()

    def __post_init__(self) -> None:
        if not 1 <= self.max_steps <= MAX_STEPS:
            raise invalid("environment.max_steps", f"must be from 1 to {MAX_STEPS}, not {self.max_steps}")
        if isinstance(self.plan.action, Dict):
            raise invalid("environment.action_space", "must be discrete, multi-discrete or a box")
        if isinstance(self.plan.action, Box) and not all(
            map(isfinite, (*self.plan.action.low, *self.plan.action.high))
        ):
            raise invalid("environment.action_space.box", "must have finite bounds")
        self._check_safety()
        self._check_size()

    @property
    def observation(self) -> spaces.Space:
        """What is observed."""
        return self.plan.observation

    @property
    def action(self) -> spaces.Space:
        """What can be done."""
        return self.plan.action

    def document(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {
            "environment": self.environment,
            "max_steps": self.max_steps,
            "plan": self.plan.document(),
            "safety": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self.safety).items()
            },
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Specification:
        """Return the specification that `document` made."""
        values: dict[str, Any] = document["safety"]
        bounds = {name: tuple(values[name]) for name in ("action_low", "action_high")}
        safety = Safety(**{**values, **bounds})
        plan = Plan.of(document["plan"])
        return cls(document["environment"], plan, document["max_steps"], safety)

    def bounded(self, actions: Floats) -> Floats:
        """Return rows of actions cut to the bounds that safety sets."""
        if not isinstance(self.action, Box):
            return actions
        safest = (self.safety.action_low or (-inf,), self.safety.action_high or (inf,))
        low = np.maximum(np.asarray(self.action.low, np.float32), np.asarray(safest[0], np.float32))
        high = np.minimum(np.asarray(self.action.high, np.float32), np.asarray(safest[1], np.float32))
        return np.clip(actions, low, high)

    def _check_size(self) -> None:
        """Refuse what could not be held, before anything is allocated."""
        options = self.plan.options
        size, choices = spaces.flat_size(self.observation), spaces.mask_size(self.action)
        if isinstance(options, TabularOptions):
            weights = (spaces.states(self.observation) or 1) * max(choices, 1)
        else:
            outputs = max(choices, spaces.compact_size(self.action)) + 1
            layers = (size, *getattr(options, "hidden", ()), outputs)
            weights = sum(first * second for first, second in pairwise(layers))
        if weights > MAX_WEIGHTS:
            raise invalid("algorithm", f"would have {weights:,} weights; {MAX_WEIGHTS:,} are the limit")
        row = 8 * spaces.compact_size(self.observation) + 2 * choices + 128
        kept = getattr(options, "buffer_size", 0) or getattr(options, "rollout_steps", 0)
        if row * kept > MAX_MEMORY:
            limit = f"would keep {row * kept:,} bytes of transitions; {MAX_MEMORY:,} are the limit"
            raise invalid("algorithm", limit)

    def _check_safety(self) -> None:
        safety = self.safety
        size = self.action.size if isinstance(self.action, Box) else 0
        for name in ("action_low", "action_high"):
            bounds = getattr(safety, name)
            if bounds and (len(bounds) not in {1, size} or not size or not all(map(isfinite, bounds))):
                raise invalid(
                    f"safety.{name}", "must be empty, or finite and one value, or one an element of a box"
                )
        if size and not np.all(
            np.asarray(safety.action_low or -inf) <= np.asarray(safety.action_high or inf)
        ):
            raise invalid("safety.action_low", "must not be above safety.action_high")
        limits = [each for each in (safety.min_reward, safety.max_reward) if each is not None]
        if not all(map(isfinite, limits)) or sorted(limits) != limits:
            raise invalid("safety.min_reward", "must be finite and not above safety.max_reward")
