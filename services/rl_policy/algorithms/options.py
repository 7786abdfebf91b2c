"""The hyper-parameters of each algorithm, as the field names them, with defaults for CartPole or a maze.

Counts are of transitions unless their name says otherwise. Each class raises InvalidArgument with the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TypeAlias

from services.kit.errors import invalid
from services.rl_policy.algorithms.schedules import Schedule

MAX_LAYERS = 8
MAX_UNITS = 4_096
MAX_BUFFER = 10_000_000


def _within(options: object, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if isinstance(value, Schedule):
            good = value.within(low, high)
        else:
            good = isfinite(value) and low <= value <= high
        if not good:
            raise invalid(name, f"must be from {low:g} to {high:g}")


def _layers(hidden: Sequence[int]) -> None:
    if len(hidden) > MAX_LAYERS or any(not 1 <= each <= MAX_UNITS for each in hidden):
        raise invalid("hidden", f"must be at most {MAX_LAYERS} layers of 1 to {MAX_UNITS} units")


@dataclass(frozen=True)
class TabularOptions:
    """Q-learning, SARSA, Expected SARSA and Double Q."""

    learning_rate: Schedule = field(default=Schedule(0.1))
    learning_rate_power: float = 0.0
    """p of rate / N(s, a)^p, N being how often the pair was updated; 0: the same rate always."""
    epsilon: Schedule = field(default=Schedule(1.0, 0.05, 20_000))
    initial_value: float = 0.0
    """What every pair is worth before it was tried; a high one explores."""
    bins: int = 8
    """Into how many equal parts each dimension of a bounded Box is cut."""
    publish_interval: int = 1
    """After how many transitions acting gets a new table."""

    def __post_init__(self) -> None:
        _within(self, 0, 1, "learning_rate", "learning_rate_power", "epsilon")
        _within(self, -1e9, 1e9, "initial_value")
        _within(self, 1, 1_024, "bins")
        _within(self, 1, MAX_BUFFER, "publish_interval")


@dataclass(frozen=True)
class DqnOptions:
    """DQN; the defaults are those that learn CartPole-v1 in 50,000 steps."""

    learning_rate: Schedule = field(default=Schedule(1e-3, 1e-4, 50_000))
    epsilon: Schedule = field(default=Schedule(1.0, 0.04, 8_000))
    batch_size: int = 64
    buffer_size: int = 100_000
    learning_starts: int = 1_000
    train_interval: int = 256
    """Updates are made, and a policy is published, each time this many transitions have come in."""
    gradient_steps: int = 128
    """How many updates are made then."""
    target_interval: int = 10
    """After how many transitions the target network is a copy again; it is looked at before updates."""
    double: bool = True
    dueling: bool = False
    n_step: int = 3
    prioritised: bool = False
    priority_alpha: float = 0.6
    priority_beta: Schedule = field(default=Schedule(0.4, 1.0, 50_000))
    hidden: tuple[int, ...] = (256, 256)
    max_grad_norm: float = 10.0
    normalise_observations: bool = False

    def __post_init__(self) -> None:
        _layers(self.hidden)
        _within(self, 0, 1, "learning_rate", "epsilon", "priority_alpha", "priority_beta")
        _within(self, 1, 65_536, "batch_size", "gradient_steps")
        _within(self, 1, MAX_BUFFER, "buffer_size", "train_interval", "target_interval")
        _within(self, 0, MAX_BUFFER, "learning_starts")
        _within(self, 1, 64, "n_step")
        _within(self, 1e-6, 1e6, "max_grad_norm")


@dataclass(frozen=True)
class ActorCriticOptions:
    """What REINFORCE, A2C and PPO share; the defaults are A2C's."""

    learning_rate: Schedule = field(default=Schedule(7e-4))
    rollout_steps: int = 40
    """How many transitions, of all episodes together, make one update (REINFORCE: at least so many)."""
    gae_lambda: float = 1.0
    entropy_coefficient: float = 0.0
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    normalise_advantages: bool = False
    normalise_observations: bool = False
    normalise_rewards: bool = False

    def __post_init__(self) -> None:
        _layers(self.hidden)
        _within(self, 0, 1, "learning_rate", "gae_lambda", "entropy_coefficient")
        _within(self, 1, MAX_BUFFER, "rollout_steps")
        _within(self, 0, 1e3, "value_coefficient")
        _within(self, 1e-6, 1e6, "max_grad_norm")


@dataclass(frozen=True)
class PpoOptions(ActorCriticOptions):
    """PPO; the defaults are those that learn CartPole-v1 in 100,000 steps of 8 environments."""

    learning_rate: Schedule = field(default=Schedule(1e-3, 0.0, 100_000))
    rollout_steps: int = 256
    gae_lambda: float = 0.8
    normalise_advantages: bool = True
    epochs: int = 20
    batch_size: int = 256
    clip: Schedule = field(default=Schedule(0.2, 0.0, 100_000))
    target_kl: float = 0.0
    """At which mean divergence from the policy that acted an update ends early; 0: never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _within(self, 1, 1_000, "epochs")
        _within(self, 1, 1_000_000, "batch_size")
        _within(self, 0, 10, "clip", "target_kl")


@dataclass(frozen=True)
class BanditOptions:
    """LinUCB, Thompson sampling and SquareCB over linear rewards."""

    action_features: int = 0
    """How many numbers describe each action: those of all actions end an observation, after its context.
    0: none, and every action has a model of its own over the context."""
    ridge: float = 1.0
    exploration: float = 1.0
    """LinUCB: alpha, the width of the bound; Thompson: the noise's deviation; SquareCB: gamma's factor."""
    samples: int = 64
    """Thompson: how many draws from the posterior the propensities are made of."""
    publish_interval: int = 1

    def __post_init__(self) -> None:
        _within(self, 0, MAX_UNITS, "action_features")
        _within(self, 1e-9, 1e9, "ridge")
        _within(self, 0, 1e6, "exploration")
        _within(self, 1, 4_096, "samples")
        _within(self, 1, MAX_BUFFER, "publish_interval")


@dataclass(frozen=True)
class CloningOptions:
    """Behaviour cloning."""

    learning_rate: Schedule = field(default=Schedule(1e-3))
    batch_size: int = 64
    buffer_size: int = 100_000
    train_interval: int = 64
    gradient_steps: int = 8
    weight_decay: float = 1e-4
    hidden: tuple[int, ...] = (64, 64)
    max_grad_norm: float = 10.0
    normalise_observations: bool = True

    def __post_init__(self) -> None:
        _layers(self.hidden)
        _within(self, 0, 1, "learning_rate", "weight_decay")
        _within(self, 1, 65_536, "batch_size", "gradient_steps")
        _within(self, 1, MAX_BUFFER, "buffer_size", "train_interval")
        _within(self, 1e-6, 1e6, "max_grad_norm")


Options: TypeAlias = (
    TabularOptions | DqnOptions | ActorCriticOptions | PpoOptions | BanditOptions | CloningOptions
)
