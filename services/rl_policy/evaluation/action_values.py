"""Models of what actions are worth, fitted to a log: tables for few states, else linear in random features.

Fitted Q evaluation (Le, Voloshin, Yue: Batch Policy Learning under Constraints, 2019): from Q_0 = 0,

    Q_(k+1) = the model nearest to  reward + discount * sum over a of pi(a | s') Q_k(s', a)

where nothing follows a terminated step, and the future goes on after a truncated one. For models linear in
their features this is what a fitted model of rewards and transitions would say (Duan, Jia, Wang, 2020).
Random Fourier features: Rahimi, Recht: Random Features for Large-Scale Kernel Machines, 2007.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Doubles, Floats, Ints
from services.rl_policy.evaluation.logged import Logged
from services.rl_policy.spaces import Space

MAX_TABLE = 4_096
"""States up to which a table is used."""
FEATURES = 128
"""Random features of an observation."""
ROUNDS = 2_000
"""Sweeps at most; each carries rewards one step further back."""
TOLERANCE = 1e-9
_RIDGE = 1e-3


class Model(Protocol):
    """Predicts action values from a log it has seen the rows of."""

    def fit(self, weights: Doubles, discount: float) -> tuple[Doubles, Doubles]:
        """Return Q of each row and of what followed it, (N, choices) each; rows count `weights` (N,)."""


def model_of(space: Space, logged: Logged) -> Model:
    """Return the model for observations of `space`, ready to be fitted."""
    if (spaces.states(space) or MAX_TABLE + 1) <= MAX_TABLE:
        return TableModel(logged)
    return FourierModel(space, logged)


class TableModel:
    """A mean for each state (what is seen and what is allowed) and action that occurred; 0 for others."""

    def __init__(self, logged: Logged) -> None:
        transitions = logged.transitions
        before = np.concatenate([transitions.observation, transitions.mask], axis=1)
        after = np.concatenate([transitions.next_observation, transitions.next_mask], axis=1)
        _, states = np.unique(np.concatenate([before, after]), axis=0, return_inverse=True)
        self._states, self._next = np.split(states.reshape(-1), 2)
        self._shape = (int(states.max()) + 1, logged.odds.shape[1])
        self._odds = np.zeros(self._shape)
        self._odds[self._next] = logged.next_odds
        self._odds[self._states] = logged.odds
        self._cells = self._states * self._shape[1] + logged.actions[:, 0]
        self._rewards = transitions.reward
        self._goes_on = ~transitions.terminated
        moves, self._moves = np.unique(self._cells * self._shape[0] + self._next, return_inverse=True)
        self._from, self._to = np.divmod(moves, self._shape[0])

    def fit(self, weights: Doubles, discount: float) -> tuple[Doubles, Doubles]:
        """Return the values after sweeps until nothing changes."""
        size = self._odds.size
        counts = np.maximum(np.bincount(self._cells, weights, size), 1e-12)
        rewards = np.bincount(self._cells, weights * self._rewards, size) / counts
        shares = np.bincount(self._moves, weights * self._goes_on, len(self._from)) / counts[self._from]
        table = rewards.reshape(self._shape)
        for _ in range(ROUNDS):
            following = discount * shares * (self._odds * table).sum(axis=1)[self._to]
            fresh = (rewards + np.bincount(self._from, following, size)).reshape(self._shape)
            done = np.abs(fresh - table).max() <= TOLERANCE * max(1.0, float(np.abs(fresh).max()))
            table = fresh
            if done:
                break
        return table[self._states], table[self._next]


class FourierModel:
    """Ridge regression for each action on cosines of random projections, their scale the median distance."""

    def __init__(self, space: Space, logged: Logged) -> None:
        transitions = logged.transitions
        self._logged = logged
        self._choices = logged.odds.shape[1]
        rows = spaces.expand(space, transitions.observation)
        following = spaces.expand(space, transitions.next_observation)
        centre, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
        rows, following = (rows - centre) / scale, (following - centre) / scale
        projection, phase = _projection(rows)
        self._rows = _cosines(rows, projection, phase)
        self._following = _cosines(following, projection, phase)

    def fit(self, weights: Doubles, discount: float) -> tuple[Doubles, Doubles]:
        """Return the values after sweeps until nothing changes."""
        onward: Doubles = np.where(self._logged.transitions.terminated, 0.0, discount)
        solvers = [self._solver(weights, action) for action in range(self._choices)]
        theta = np.zeros((self._choices, self._rows.shape[1]))
        expected = [self._expected(solver, onward) for solver in solvers]
        constant = np.stack([solve @ self._logged.transitions.reward[rows] for rows, solve in solvers])
        for _ in range(ROUNDS):
            fresh = constant + np.stack([np.einsum("aij,aj->i", each, theta) for each in expected])
            done = np.abs(fresh - theta).max() <= 1e-6 * max(1.0, float(np.abs(fresh).max()))
            theta = fresh
            if done or not np.isfinite(theta).all():
                break
        return self._rows @ theta.T, self._following @ theta.T

    def _solver(self, weights: Doubles, action: int) -> tuple[Ints, Doubles]:
        """Return the rows with this action, and the matrix that makes coefficients of targets (rows,)."""
        rows = np.flatnonzero(self._logged.actions[:, 0] == action)
        features = self._rows[rows]
        weighted = features.T * weights[rows]
        ridge = _RIDGE * max(float(weights.sum()), 1.0) / self._choices
        gram = weighted @ features + ridge * np.eye(features.shape[1])
        solve: Doubles = np.linalg.solve(gram, weighted)
        return rows, solve

    def _expected(self, solver: tuple[Ints, Doubles], onward: Doubles) -> Doubles:
        """Return (choices, d, d): how this action's coefficients follow from those of each next one."""
        rows, solve = solver
        scaled = solve * onward[rows]
        odds = self._logged.next_odds[rows]
        following = self._following[rows]
        return np.stack([(scaled * odds[:, choice]) @ following for choice in range(self._choices)])


def _projection(rows: Floats) -> tuple[Doubles, Doubles]:
    generator = np.random.default_rng(0)
    some = rows[generator.integers(0, len(rows), (2, 512))]
    distance = float(np.median(np.linalg.norm(some[0] - some[1], axis=1))) or 1.0
    projection = generator.normal(0.0, 1.0 / distance, (rows.shape[1], FEATURES))
    return projection, generator.uniform(0.0, 2.0 * np.pi, FEATURES)


def _cosines(rows: Floats, projection: Doubles, phase: Doubles) -> Doubles:
    waves = np.sqrt(2.0 / FEATURES) * np.cos(rows @ projection + phase)
    return np.concatenate([np.ones((len(rows), 1)), waves], axis=1)
