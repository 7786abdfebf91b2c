"""`python -m benchmarks.policy_run TASK SEED`: learns a task with one seed and says in a line what it earns.

In one process, acting and learning in lock-step: what the same seed comes to through the service.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev

from benchmarks import policy_environments
from benchmarks.policy_tasks import Task, task
from services.rl_policy.algorithms.plan import Plan, options_of
from services.rl_policy.learner.lockstep import Lockstep

EPISODES = 100
FIRST_SEED = 1_000_000
"""Of the episodes that judge: none that was learned from."""


@dataclass(frozen=True)
class Outcome:
    """What one seed came to."""

    task: str
    seed: int
    steps: int
    return_mean: float
    return_std: float
    """0 where the mean was computed."""
    episodes: int
    """How many greedy episodes were played; 0 where the mean was computed."""
    wall_s: float
    """Of acting, learning and the environment, without the evaluation."""
    curve: tuple[tuple[int, float], ...]
    """The mean return of episodes while learning, in up to 40 parts."""


def run(what: Task, seed: int, steps: int | None = None) -> Outcome:
    """Learn with one seed."""
    environments = [
        policy_environments.GymnasiumEnvironment(what.environment) for _ in range(what.environments)
    ]
    plan = Plan(
        what.algorithm,
        environments[0].observation,
        environments[0].action,
        options_of(what.algorithm, what.options),
        what.discount,
        seed,
    )
    learner = plan.learner()
    loop = Lockstep(learner, environments, seed)
    began = time.perf_counter()
    loop.play(steps or what.steps)
    took = time.perf_counter() - began
    if what.exact:
        earned = [policy_environments.expected(what.environment, learner.policy())]
    else:
        earned = policy_environments.played(what.environment, learner.policy(), EPISODES, FIRST_SEED)
    count = 0 if what.exact else len(earned)
    mean, deviation = fmean(earned), pstdev(earned)
    return Outcome(
        what.name, seed, loop.taken, mean, deviation, count, took, _curve(loop.returns, loop.taken)
    )


def _curve(returns: list[tuple[int, float]], steps: int, parts: int = 40) -> tuple[tuple[int, float], ...]:
    """Return the mean return of the episodes that ended in each part, with the step at which it ends."""
    width = -(-steps // parts)
    by_part: dict[int, list[float]] = {}
    for ended, earned in returns:
        by_part.setdefault((ended - 1) // width, []).append(earned)
    return tuple(((part + 1) * width, round(fmean(by_part[part]), 1)) for part in sorted(by_part))


if __name__ == "__main__":
    outcome = run(task(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    print(json.dumps(asdict(outcome)), flush=True)
