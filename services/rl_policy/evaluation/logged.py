"""Logged episodes, and what the policy to be judged would have done in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import (
    Bools,
    Doubles,
    Ints,
    Mode,
    Policy,
    Transitions,
    joined,
)
from services.rl_policy.spaces import Box, Dict, MultiDiscrete, Space


@dataclass(frozen=True)
class Logged:
    """N transitions of whole episodes, one episode after the other, seen by a policy."""

    transitions: Transitions
    starts: Ints
    """(E,): the row at which each episode begins."""
    actions: Ints
    """(N, components): what was done."""
    likelihoods: Doubles
    """(N,): how likely the policy is to do the same."""
    odds: Doubles
    """(N, choices): its distribution where each action was chosen."""
    next_odds: Doubles
    """(N, choices): its distribution at what followed."""

    def __post_init__(self) -> None:
        if not len(self.starts):
            raise ValueError("no episode")

    @property
    def episodes(self) -> int:
        """How many episodes there are."""
        return len(self.starts)

    @property
    def owners(self) -> Ints:
        """(N,): the index of each row's episode."""
        lengths = np.diff([*self.starts.tolist(), len(self.transitions)])
        return np.repeat(np.arange(self.episodes), lengths)

    @property
    def known(self) -> Bools:
        """(N,): whether the behaviour's propensity is known."""
        return self.transitions.propensity > 0

    @property
    def ratios(self) -> Doubles:
        """(N,): how much likelier the policy is to do the same; an unknown propensity counts as uniform."""
        uniform = 1.0 / np.maximum(self.transitions.mask.sum(axis=1), 1)
        behaviour = np.where(self.known, self.transitions.propensity, uniform)
        ratios: Doubles = self.likelihoods / behaviour
        return ratios

    def discounts(self, discount: float) -> Doubles:
        """Return (N,) discount^t, t counting from each episode's start."""
        steps = np.arange(len(self.transitions)) - self.starts[self.owners]
        powers: Doubles = np.power(np.float64(discount), steps)
        return powers

    def returns(self, discount: float) -> Doubles:
        """Return (E,) the discounted return of each episode."""
        return self.summed(self.transitions.reward * self.discounts(discount))

    def products(self) -> Doubles:
        """Return (N,) the product of the ratios from each episode's start up to the row."""
        logs = np.log(np.maximum(self.ratios, 1e-300)).cumsum()
        before = np.concatenate([np.zeros(1), logs])[self.starts[self.owners]]
        products: Doubles = np.exp(np.minimum(logs - before, 700.0))
        return products

    def summed(self, rows: Doubles) -> Doubles:
        """Return (E,) the sum of each episode's rows (N,)."""
        sums: Doubles = np.bincount(self.owners, rows, self.episodes).astype(np.float64)
        return sums

    def chosen(self, episodes: Ints) -> Logged:
        """Return the log of these episodes alone, by index."""
        ends = np.append(self.starts[1:], len(self.transitions))
        lengths = ends[episodes] - self.starts[episodes]
        rows = np.concatenate([np.arange(self.starts[each], ends[each]) for each in episodes])
        return Logged(
            self.transitions[rows],
            np.append(0, lengths.cumsum()[:-1]),
            self.actions[rows],
            self.likelihoods[rows],
            self.odds[rows],
            self.next_odds[rows],
        )


def seen_by(policy: Policy, mode: Mode, action_space: Space, episodes: Sequence[Transitions]) -> Logged:
    """Return whole episodes (each in the order of its steps) as `policy` sees them.

    Raises InvalidArgument for actions of a Box: a policy does not say how likely one of them is.
    """
    counts = np.asarray(_counts(action_space))
    transitions = joined(episodes)
    starts = np.append(0, np.cumsum([len(each) for each in episodes])[:-1])
    odds = policy.distribution(transitions.observation, transitions.mask, mode)
    next_odds = policy.distribution(transitions.next_observation, _usable(transitions.next_mask), mode)
    actions = transitions.action.astype(np.int64)
    columns = actions + np.append(0, counts.cumsum()[:-1])
    likelihoods = np.take_along_axis(odds, columns, axis=1).prod(axis=1)
    return Logged(transitions, starts, actions, likelihoods, odds, next_odds)


def _usable(masks: Bools) -> Bools:
    """At an episode's end nothing may be allowed; distributions need something."""
    return masks | ~masks.any(axis=1, keepdims=True)


def _counts(space: Space) -> tuple[int, ...]:
    if isinstance(space, Box):
        raise invalid("off_policy", "needs discrete actions: a box has no probabilities to weigh by")
    if isinstance(space, Dict):
        return tuple(count for _, each in space.spaces for count in _counts(each))
    return space.nvec if isinstance(space, MultiDiscrete) else (space.n,)
