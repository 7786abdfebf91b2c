"""What is learned in `benchmarks.policy_quality`: environment, algorithm, hyper-parameters, steps and goal.

The hyper-parameters of networks begin with those that RL Baselines3 Zoo publishes for the environment. DQN's
learning rate falls here: a network is judged as it is at the end, in the middle of its swings otherwise.
Its targets are double and of three steps: without, a seed of five ended at 380 on CartPole, MountainCar at
-109.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """One row of the table, for several seeds."""

    name: str
    environment: str
    algorithm: str
    steps: int
    goal: float
    """The least mean return over the seeds."""
    discount: float = 0.99
    environments: int = 1
    every_seed: bool = False
    """Whether each seed must reach the goal."""
    exact: bool = False
    """Whether the return is computed from the environment's transition table."""
    options: Mapping[str, Any] = field(default_factory=dict)


def _line(start: float, end: float, steps: int) -> dict[str, float]:
    return {"start": start, "end": end, "steps": steps}


TASKS = (
    Task(
        *("frozen-lake", "FrozenLake-v1", "q_learning", 400_000, 0.72),
        discount=0.99,
        environments=16,
        exact=True,
        options={
            "learning_rate": 1.0,
            "learning_rate_power": 0.65,
            "epsilon": _line(1.0, 0.1, 300_000),
        },
    ),
    Task(
        *("frozen-lake-8x8", "FrozenLake8x8-v1", "q_learning", 1_000_000, 0.84),
        discount=0.999,
        environments=16,
        exact=True,
        options={
            "learning_rate": _line(0.2, 0.005, 900_000),
            "epsilon": _line(0.2, 0.05, 800_000),
            "initial_value": 1.0,
        },
    ),
    Task(
        *("taxi", "Taxi-v4", "q_learning", 300_000, 7.8),
        discount=0.99,
        environments=16,
        exact=True,
        options={"learning_rate": 0.5, "epsilon": _line(1.0, 0.1, 200_000)},
    ),
    Task(
        *("dqn-cartpole", "CartPole-v1", "dqn", 50_000, 475.0),
        every_seed=True,
        options={
            "learning_rate": _line(1e-3, 1e-4, 50_000),
            "double": True,
            "n_step": 3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "target_interval": 10,
            "train_interval": 256,
            "gradient_steps": 128,
            "epsilon": _line(1.0, 0.04, 8_000),
            "hidden": [256, 256],
        },
    ),
    Task(
        *("ppo-cartpole", "CartPole-v1", "ppo", 100_000, 475.0),
        discount=0.98,
        environments=8,
        every_seed=True,
        options={
            "learning_rate": _line(1e-3, 0.0, 100_000),
            "rollout_steps": 256,
            "batch_size": 256,
            "epochs": 20,
            "gae_lambda": 0.8,
            "clip": _line(0.2, 0.0, 100_000),
        },
    ),
    Task(
        *("dqn-acrobot", "Acrobot-v1", "dqn", 50_000, -77.0),
        options={
            "learning_rate": _line(6.3e-4, 0.0, 50_000),
            "batch_size": 128,
            "buffer_size": 50_000,
            "learning_starts": 0,
            "target_interval": 250,
            "train_interval": 4,
            "gradient_steps": 2,
            "epsilon": _line(1.0, 0.1, 12_000),
            "hidden": [256, 256],
        },
    ),
    Task(
        *("dqn-mountain-car", "MountainCar-v0", "dqn", 120_000, -101.0),
        discount=0.98,
        options={
            "learning_rate": _line(4e-3, 0.0, 120_000),
            "batch_size": 128,
            "buffer_size": 10_000,
            "learning_starts": 1_000,
            "target_interval": 600,
            "train_interval": 16,
            "gradient_steps": 8,
            "epsilon": _line(1.0, 0.07, 24_000),
            "hidden": [256, 256],
        },
    ),
    Task(
        *("ppo-acrobot", "Acrobot-v1", "ppo", 1_000_000, -74.0),
        environments=16,
        options={
            "learning_rate": 3e-4,
            "rollout_steps": 4_096,
            "batch_size": 64,
            "epochs": 4,
            "gae_lambda": 0.94,
            "clip": 0.2,
            "normalise_observations": True,
            "normalise_rewards": True,
        },
    ),
)


def task(name: str) -> Task:
    """Return the task of this name; raises KeyError."""
    return {each.name: each for each in TASKS}[name]
