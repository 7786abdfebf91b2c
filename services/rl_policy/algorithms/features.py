"""What a linear bandit sees of an observation: a row of features for each action."""

from __future__ import annotations

import numpy as np

from services.kit.errors import invalid
from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Doubles, Floats
from services.rl_policy.algorithms.options import BanditOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.heads import count_of

MAX_ELEMENTS = 1 << 24


class Features:
    """(B, size) observations to (B, actions, d).

    Without features of actions every action has its own model over (1, context): d = 1 + context. With F
    features an action there is one model over (action, action ⊗ context): d = F + F * context.
    """

    def __init__(self, space: spaces.Space, actions: int, action_features: int) -> None:
        self._space = space
        self._actions = actions
        self._each = action_features
        self._context = spaces.flat_size(space) - actions * action_features
        if self._context < 0:
            wanted = actions * action_features
            raise invalid("observation_space", f"must have at least the {wanted} features of the actions")
        size = action_features * (1 + self._context) if action_features else 1 + self._context
        self.shape = (1, size) if action_features else (actions, size)
        if self.shape[0] * size * size > MAX_ELEMENTS:
            raise invalid("observation_space", f"must make at most {MAX_ELEMENTS} numbers of covariance")

    @classmethod
    def of(cls, plan: Plan) -> Features:
        """Return the features of a plan; raises InvalidArgument where its spaces do not fit a bandit."""
        options = plan.options
        assert isinstance(options, BanditOptions)  # noqa: S101 - the plan has seen to it
        return cls(plan.observation, count_of(plan.action), options.action_features)

    def __call__(self, observations: Floats) -> Doubles:
        """Return the features of each action of each row."""
        rows = spaces.expand(self._space, observations).astype(np.float64)
        context = rows[:, : self._context]
        if not self._each:
            own = np.concatenate([np.ones((len(rows), 1)), context], axis=1)
            return np.repeat(own[:, None], self._actions, axis=1)
        actions = rows[:, self._context :].reshape(len(rows), self._actions, self._each)
        crossed = (actions[..., None] * context[:, None, None]).reshape(len(rows), self._actions, -1)
        return np.concatenate([actions, crossed], axis=2)
