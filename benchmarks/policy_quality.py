"""`python -m benchmarks.policy_quality` (`make bench-rl`): what each algorithm learns, five seeds a task.

Each run is a process of its own with one thread. What it said is kept in RUNS, and a run that is there is not
made again: who changes a task takes its runs out. `--quick` is what CI runs: a taxi and a cart's pole.
Stable-Baselines3, where `make bench-peers` has built it, learns the tasks of networks with one seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.figures import Goal
from benchmarks.machine import processor
from benchmarks.peers import places
from benchmarks.policy_tasks import TASKS, Task, task
from benchmarks.report import goals_table, last_line, progress, table, write

PAGE = Path(__file__).with_name("policy_quality.md")
RUNS = Path(__file__).with_name("policy_quality.json")
PEER = "stable-baselines3"
PROGRAM = Path(__file__).parent / "peers" / "programs" / "baselines.py"
QUICK = ("taxi", "ppo-cartpole")
SEEDS = (1, 2, 3, 4, 5)
NOT_BUILT = "Not measured: `make bench-peers` has not built it here."
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Run = Mapping[str, Any]


def main() -> int:
    """Make the runs that are missing, write the page; return how many goals are missed."""
    arguments = _arguments()
    tasks = [
        task(name) for name in (QUICK if arguments.quick else arguments.tasks) or [t.name for t in TASKS]
    ]
    seeds = SEEDS[:1] if arguments.quick else tuple(arguments.seeds)
    runs = {} if arguments.quick else _kept()
    wanted = [(each, seed) for each in tasks for seed in seeds if f"{each.name}/{seed}" not in runs]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        for run in pool.map(lambda pair: learned(*pair), wanted):
            runs[f"{run['task']}/{run['seed']}"] = run
            if not arguments.quick:
                _keep(runs)
    if not arguments.quick and not places.why_not(PEER):
        for each in tasks:
            if each.algorithm in {"dqn", "ppo"} and f"{each.name}/{PEER}" not in runs:
                runs[f"{each.name}/{PEER}"] = beside(each, seeds[0])
                _keep(runs)
    goals = list(judged(runs))
    if not arguments.quick:
        write(PAGE, *page(runs, goals))
    print(last_line({name: run["return_mean"] for name, run in sorted(runs.items())}, goals))
    return sum(goal.reached < 1 for goal in goals)


def learned(what: Task, seed: int) -> dict[str, Any]:
    """Return what one seed of a task came to."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.policy_run", what.name, str(seed)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
    )
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    progress(f"{what.name}, seed {seed}: {run['return_mean']:.3f} in {run['wall_s']:.0f} s")
    return run


def beside(what: Task, seed: int) -> dict[str, Any]:
    """Return what Stable-Baselines3 comes to with a task's hyper-parameters."""
    command = [str(places.python(PEER)), "-W", "ignore", str(PROGRAM)]
    asked = json.dumps({**asdict(what), "seed": seed}, default=dict)
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, input=asked, text=True, env={**os.environ, **ONE_THREAD}
    )
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    progress(f"{what.name}, {PEER}: {run['return_mean']:.3f} in {run['wall_s']:.0f} s")
    return {**run, "peer": what.name, "seed": seed}


def judged(runs: Mapping[str, Run]) -> Iterable[Goal]:
    """Yield how near each task that was run is to its goal: by its mean, or by its worst seed."""
    for each in TASKS:
        earned = [run["return_mean"] for run in _of(each, runs)]
        if earned:
            measured = min(earned) if each.every_seed else fmean(earned)
            kind = "every seed" if each.every_seed else "mean"
            if each.goal < 0:  # the fewer steps the better
                yield Goal(f"{each.name}, {kind} of -return", -measured, -each.goal, most=True)
            else:
                yield Goal(f"{each.name}, {kind}", measured, each.goal)


def page(runs: Mapping[str, Run], goals: Sequence[Goal]) -> list[str]:
    """Return the page's paragraphs."""
    head = ("task", "algorithm", "steps", *(f"seed {seed}" for seed in SEEDS), "mean", "goal", "wall, s")
    rows = [_row(each, _of(each, runs)) for each in TASKS if _of(each, runs)]
    about = (
        f"`make bench-rl` on {processor()}. Acting and learning in lock-step in one process with one thread,"
        " as through the service; then 100 greedy episodes with seeds that were not learned from. The returns"
        " of the tables are computed from the environment's transition table, within its limit of time. Wall"
        " time is of acting, learning and the environment; other work ran on the same two cores."
    )
    peers = [run for run in runs.values() if "peer" in run]
    compared = [_beside_row(run, _of(task(run["peer"]), runs)) for run in peers]
    side = table(("task", "seed", "ours", "wall, s", PEER, "wall, s"), compared) if compared else NOT_BUILT
    paragraphs = ["## Beside Stable-Baselines3", side, "## Goals", goals_table(goals)]
    return ["# What policies learn", about, table(head, rows), *paragraphs]


def _beside_row(peer: Run, runs: Sequence[Run]) -> list[str]:
    ours = next((run for run in runs if run["seed"] == peer["seed"]), None)
    own = (f"{ours['return_mean']:.1f}", f"{ours['wall_s']:.0f}") if ours else ("-", "-")
    return [peer["peer"], str(peer["seed"]), *own, f"{peer['return_mean']:.1f}", f"{peer['wall_s']:.0f}"]


def _row(each: Task, runs: Sequence[Run]) -> list[str]:
    by_seed = {run["seed"]: run["return_mean"] for run in runs}
    seeds = [f"{by_seed[seed]:.3f}" if seed in by_seed else "-" for seed in SEEDS]
    goal = f"{each.goal:g}{' each' if each.every_seed else ''}"
    wall = fmean(run["wall_s"] for run in runs)
    name = f"{each.name} ({each.environment})"
    mean = f"{fmean(by_seed.values()):.3f}"
    return [name, each.algorithm, f"{each.steps:,}", *seeds, mean, goal, f"{wall:.0f}"]


def _of(each: Task, runs: Mapping[str, Run]) -> list[Run]:
    return [run for run in runs.values() if run.get("task") == each.name]


def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    return kept


def _keep(runs: Mapping[str, Any]) -> None:
    lines = (f"{json.dumps(name)}: {json.dumps(runs[name])}" for name in sorted(runs))
    RUNS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--at-once", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--quick", action="store_true", help="one seed of the short tasks; keeps nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
