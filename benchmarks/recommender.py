"""`python -m benchmarks.recommender`: lists by the recommender's port, from another process.

MovieLens-100K with the default blend, and 1 M users by 100,000 items with 64 published factors. Beside them
stand, in-process and in the same run, what brute force in numpy does with the same vectors and, where it is
installed, `implicit`: neither has a port, filters, or what a user did a moment ago.
The recommender has one BLAS thread: more of them would wait for each other in small products.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import random as random_sparse
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

from benchmarks import machine, report
from benchmarks.figures import Goal
from benchmarks.recommender_host import Host, host, publish, write_events, write_items
from services.recommender.commands.importing import movielens, write
from services.recommender.commands.operating import train

PAGE = Path(__file__).with_suffix(".md")
FACTORS = 64
HEAD = ("what", "a second", "p50, ms", "p99, ms")


@dataclass(frozen=True)
class Scale:
    """How large the synthetic world is, and how long each measurement takes."""

    users: int = 1_000_000
    items: int = 100_000
    events: int = 1_000_000
    seconds: float = 8.0


@dataclass(frozen=True)
class Found:
    """Rows of the table, and goals."""

    rows: list[Sequence[str]]
    goals: list[Goal]


def measured_movielens(scale: Scale) -> Found:
    """Measure on MovieLens-100K: 943 users, 1,682 items, 100,000 ratings."""
    found = Found([], [])
    with host() as running:
        with running.channel() as channel:
            write(channel, movielens())
            begun = time.perf_counter()
            train(channel, [])
            found.rows.append(
                ("ML-100K: Train, by a process of its own", f"{time.perf_counter() - begun:.1f} s", "", "")
            )
        ask = asking(running, "", 943, 1, scale.seconds)
        _closed(found, "ML-100K: Recommend", ask)
        at = ask("open", 1_000)
        found.rows.append(row("ML-100K: Recommend at 1,000 a second", at))
        found.goals.append(Goal("ML-100K: p99 at 1,000 a second, ms", at["p99"], 8, most=True))
        changed = ask("changed", 100)
        found.rows.append(row("ML-100K: event to changed answer", changed))
        found.goals.append(Goal("event to changed answer, p99, ms", changed["p99"], 100, most=True))
        rate = ask("batches", 0)["rate"]
        found.rows.append(("ML-100K: BatchRecommend, users", f"{rate:,.0f}", "", ""))
    return found


def measured_large(scale: Scale) -> Found:
    """Measure on many users and items, whose vectors are published."""
    found = Found([], [])
    with host() as running:
        with running.channel() as channel:
            stub = RecommenderServiceStub(channel)
            write_items(stub, scale.items)
            rate = write_events(stub, scale.events, scale.users, scale.items)
            publish(stub, scale.items, FACTORS)
        found.rows.append(("StreamEvents, 500 a message: durable events", f"{rate:,.0f}", "", ""))
        found.goals.append(Goal("durable events a second", rate, 50_000))
        ask = asking(running, "u", scale.users, 0, scale.seconds)
        name = f"{scale.users:,} users by {scale.items:,} items"
        _closed(found, f"{name}: Recommend", ask)
        at = ask("open", 300)
        found.rows.append(row(f"{name}: Recommend at 300 a second", at))
        found.goals.append(Goal("large: p99 at 300 a second, ms", at["p99"], 20, most=True))
        memory = running.resident_mib()
        running.stop()
        ready = running.start()
        found.rows.append((f"{name}: resident", f"{memory:,.0f} MiB", "", ""))
        found.rows.append((f"restart with {scale.events:,} events: ready after", f"{ready:.1f} s", "", ""))
        found.goals.append(Goal("large: resident, MiB", memory, 1_430, most=True))
        found.goals.append(Goal("restart until ready, s", ready, 10, most=True))
    return found


def measured_in_process(scale: Scale) -> list[Sequence[str]]:
    """Return what brute force, and `implicit` where it is there, do for one user after the other."""
    vectors = np.random.default_rng(7).standard_normal((scale.items, FACTORS)).astype(np.float32)
    users = np.random.default_rng(8).standard_normal((256, FACTORS)).astype(np.float32)

    def brute(number: int) -> None:
        scores = vectors @ users[number % len(users)]
        best = np.argpartition(scores, -10)[-10:]
        best[np.argsort(-scores[best])]

    rows = [timed(f"in-process: numpy brute force, {scale.items:,} items, no port", brute)]
    implicit = implicit_recommender(vectors, users)
    if implicit is None:
        return [*rows, ("in-process: implicit", "not installed", "", "")]
    return [*rows, timed(f"in-process: implicit, {scale.items:,} items, no port", implicit)]


def implicit_recommender(vectors: np.ndarray, users: np.ndarray) -> Callable[[int], None] | None:
    """Return what asks implicit's ALS for a list, None where it is not installed."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        return None
    model = AlternatingLeastSquares(factors=FACTORS, num_threads=1)
    model.item_factors, model.user_factors = vectors, users
    history = random_sparse(1, len(vectors), density=1e-4, format="csr", dtype=np.float32)
    return lambda number: model.recommend(number % len(users), history, N=10)


def timed(name: str, ask: Callable[[int], None], rounds: int = 200) -> Sequence[str]:
    waits = []
    for number in range(rounds):
        begun = time.perf_counter()
        ask(number)
        waits.append(time.perf_counter() - begun)
    ordered = sorted(waits)
    middle, late = 1e3 * ordered[rounds // 2], 1e3 * ordered[int(0.99 * rounds)]
    return (name, f"{rounds / sum(waits):,.0f}", f"{middle:.2f}", f"{late:.2f}")


def asking(
    running: Host, prefix: str, users: int, first: int, seconds: float
) -> Callable[[str, float], dict[str, float]]:
    """Return what runs callers in a process of their own."""

    def ask(kind: str, amount: float) -> dict[str, float]:
        report.progress(f"{kind} {amount:g} …")
        command = [sys.executable, "-m", "benchmarks.recommender_load", running.address, kind, str(amount)]
        command += [str(seconds), "--prefix", prefix, "--users", str(users), "--first", str(first)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    return ask


def row(name: str, figures: dict[str, float]) -> Sequence[str]:
    return (name, f"{figures['rate']:,.0f}", f"{figures['p50']:.1f}", f"{figures['p99']:.1f}")


def _closed(found: Found, name: str, ask: Callable[[str, float], dict[str, float]]) -> None:
    for callers in (1, 16, 64):
        found.rows.append(row(f"{name}, {callers} at once", ask("closed", callers)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, without a page")
    parser.add_argument("--seconds", type=float, default=Scale.seconds, help="of each measurement")
    parser.add_argument("--only", choices=["movielens", "large"])
    arguments = parser.parse_args()
    scale = Scale(20_000, 5_000, 40_000, 2.0) if arguments.quick else Scale(seconds=arguments.seconds)
    parts = {"movielens": measured_movielens, "large": measured_large}
    found = [part(scale) for name, part in parts.items() if arguments.only in (None, name)]
    rows = [each for part in found for each in part.rows] + measured_in_process(scale)
    goals = [each for part in found for each in part.goals]
    page = [machine.heading("benchmarks.recommender"), __doc__.split("\n\n", 1)[1].strip()]
    page += [report.table(HEAD, rows), report.goals_table(goals)]
    if not arguments.quick and arguments.only is None:
        report.write(PAGE, *page)
    print("\n\n".join(page))
    print(report.last_line([list(each) for each in rows], goals))


if __name__ == "__main__":
    main()
