"""Learns a task with Stable-Baselines3: the task as JSON on standard input, its outcome as a line of JSON.

Run by the peer's own interpreter; imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

EPISODES = 100
FIRST_SEED = 1_000_000


def schedule(value: Any, total: int) -> Any:
    """Return a schedule as Stable-Baselines3 takes it: a function of what remains, from 1 to 0."""
    if not isinstance(value, dict):
        return value
    start, end, steps = value["start"], value["end"], value["steps"]

    def at(remaining: float) -> float:
        return float(start + min(1.0, (1.0 - remaining) * total / steps) * (end - start))

    return at


def dqn(task: dict[str, Any], environment: Any) -> DQN:
    """Return DQN with the task's hyper-parameters; it has no double targets."""
    options, total = task["options"], task["steps"]
    epsilon = options["epsilon"]
    return DQN(
        "MlpPolicy",
        environment,
        learning_rate=schedule(options["learning_rate"], total),
        batch_size=options["batch_size"],
        buffer_size=options["buffer_size"],
        learning_starts=options["learning_starts"],
        target_update_interval=options["target_interval"],
        train_freq=options["train_interval"],
        gradient_steps=options["gradient_steps"],
        exploration_fraction=epsilon["steps"] / total,
        exploration_initial_eps=epsilon["start"],
        exploration_final_eps=epsilon["end"],
        n_steps=options.get("n_step", 1),
        gamma=task["discount"],
        policy_kwargs={"net_arch": options["hidden"]},
        seed=task["seed"],
        device="cpu",
    )


def ppo(task: dict[str, Any], environment: Any) -> PPO:
    """Return PPO with the task's hyper-parameters."""
    options, total = task["options"], task["steps"]
    return PPO(
        "MlpPolicy",
        environment,
        learning_rate=schedule(options["learning_rate"], total),
        n_steps=options["rollout_steps"] // task["environments"],
        batch_size=options["batch_size"],
        n_epochs=options["epochs"],
        gae_lambda=options["gae_lambda"],
        clip_range=schedule(options["clip"], total),
        gamma=task["discount"],
        seed=task["seed"],
        device="cpu",
    )


def main() -> None:
    """Learn, then play greedily."""
    task = json.load(sys.stdin)
    makers: dict[str, Callable[..., Any]] = {"dqn": dqn, "ppo": ppo}
    environments: Any = DummyVecEnv([lambda: gymnasium.make(task["environment"])] * task["environments"])
    if task["options"].get("normalise_observations"):
        environments = VecNormalize(environments, gamma=task["discount"])
    model = makers[task["algorithm"]](task, environments)
    began = time.perf_counter()
    model.learn(task["steps"])
    took = time.perf_counter() - began
    normalised = environments if isinstance(environments, VecNormalize) else None
    earned = [played(model, normalised, task["environment"], FIRST_SEED + index) for index in range(EPISODES)]
    print(json.dumps({"return_mean": float(np.mean(earned)), "wall_s": took}), flush=True)


def played(model: Any, normalised: VecNormalize | None, name: str, seed: int) -> float:
    """Return what a greedy episode earns."""
    environment = gymnasium.make(name)
    observation, _ = environment.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        row = normalised.normalize_obs(observation) if normalised else observation
        action, _ = model.predict(row, deterministic=True)
        observation, reward, terminated, truncated, _ = environment.step(int(action))
        total += float(reward)
        ended = terminated or truncated
    return total


if __name__ == "__main__":
    main()
