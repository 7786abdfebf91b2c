"""`python -m benchmarks.detectors`: false alarms, delays and costs of the monitor's detectors.

On streams that never change at most one false alarm in a million points; a shift of the mean by one deviation
found within 50 points, by a quarter within 600 (medians); a change of topic in windows of 10,000 requests
found within two of them; at most 20 µs a point.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import machine, report
from benchmarks.figures import Goal
from benchmarks.shift_simulation import delays, false_alarms
from benchmarks.topic_drift import false_drifts, topics, windows_until_found
from services.monitor.detectors.adwin import Adwin
from services.monitor.detectors.cbpe import ExpectedPerformance
from services.monitor.detectors.ewma import EwmaChart
from services.monitor.detectors.half_space_trees import HalfSpaceTrees
from services.monitor.detectors.mean_shift import MeanShift
from services.monitor.detectors.page_hinkley import PageHinkley
from services.monitor.detectors.psi import Bins
from services.monitor.detectors.quantile_sketch import QuantileSketch
from services.monitor.detectors.robust_z import RobustZ
from services.monitor.detectors.surprise import Surprise
from services.monitor.detectors.tail import Tail

PAGE = Path(__file__).with_suffix(".md")
STREAMS, LENGTH = 2_000, 50_000
SHIFTED = 1_000
SHARES = (1.0, 0.2, 0.05)
TRIES, QUIET_WINDOWS = 10, 50
POINTS, ROUNDS = 20_000, 3
MICROSECONDS = 20.0


def shifts(streams: int, length: int, shifted: int) -> tuple[list[str], list[Goal]]:
    """Return what the simulation of shifts says, and its goals."""
    alarms = false_alarms(streams, length)
    points = streams * length
    goals = [Goal("false alarms in a million points", 1e6 * max(alarms, 1) / points, 1.0, most=True)]
    rows = []
    for shift, within in ((1.0, 50.0), (0.25, 600.0)):
        found = delays(shift, shifted)
        goals.append(
            Goal(f"points until a shift of {shift} is found, median", median(found), within, most=True)
        )
        late = float(np.quantile(found, 0.95))
        rows.append([f"{shift}", f"{len(found):,}", f"{median(found):.0f}", f"{late:.0f}"])
    sentence = (
        f"Mean shift: {alarms} false alarms in {points:,} points of {streams:,} streams that never change."
    )
    head = ["shift, deviations", "streams", "points until found, p50", "p95"]
    return [sentence, report.table(head, rows)], goals


def drifts(tries: int, quiet: int) -> tuple[list[str], list[Goal]]:
    """Return what windows of embeddings say, and their goals."""
    first, second = topics()
    rows: list[list[str]] = []
    goals: list[Goal] = []
    for share in SHARES:
        found = windows_until_found(first, second, share, tries)
        rows.extend(
            [name, f"{share:.0%}", *(str(windows.count(at)) for at in (1, 2, np.inf))]
            for name, windows in found.items()
        )
        if share == 1.0:
            goals.extend(
                Goal(f"windows until {name} finds another topic, most", max(windows), 2.0, most=True)
                for name, windows in found.items()
            )
    false = ", ".join(f"{name} {count}" for name, count in false_drifts(first, quiet).items())
    sentence = f"Of {quiet} windows of the same topic were called drifted: {false}."
    head = ["detector", "requests of the other topic", "found in window 1 (half changed)", "in 2", "in none"]
    return [sentence, report.table(head, rows)], goals


def costs(points: int) -> tuple[list[str], list[Goal]]:
    """Return the microseconds a point of each detector, and its goals."""
    numbers = random.Random(1)
    values = [numbers.gauss(100.0, 5.0) for _ in range(points)]
    told = {name: median(_microseconds(make(), values) for _ in range(ROUNDS)) for name, make in detectors()}
    table = report.table(["detector", "µs a point"], ([name, f"{cost:.2f}"] for name, cost in told.items()))
    return [table], [Goal(f"{name}, µs", cost, MICROSECONDS, most=True) for name, cost in told.items()]


def detectors() -> Iterator[tuple[str, Callable[[], Callable[[float], object]]]]:
    """Yield each detector's name, and what makes one."""
    yield "ADWIN", lambda: Adwin().observe
    yield "Page-Hinkley", lambda: PageHinkley().observe
    yield "mean shift", lambda: MeanShift().observe
    yield "EWMA chart", lambda: EwmaChart().observe
    yield "robust z", lambda: RobustZ().observe
    yield "tail", lambda: Tail(4_000, 100).observe
    yield "quantile sketch", lambda: QuantileSketch().observe
    yield "PSI's bins", lambda: Bins(list(range(80, 120, 4))).observe
    yield "expected performance", _performance
    yield "half-space trees, 3 dimensions", _trees
    yield "surprise", _surprise


def _performance() -> Callable[[float], object]:
    window = ExpectedPerformance()
    return lambda value: window.observe(min(max(value / 200, 0.0), 1.0), predicted=value > 100)


def _trees() -> Callable[[float], object]:
    trees = HalfSpaceTrees(dimensions=3)
    return lambda value: trees.observe((value / 200, 0.3, 0.4))


def _surprise() -> Callable[[float], object]:
    detector, clock = Surprise(), iter(range(0, 1 << 40, 300))
    return lambda value: detector.observe(next(clock), value)


def _microseconds(observe: Callable[[float], object], values: list[float]) -> float:
    """Time the second half: by then windows are full."""
    half = len(values) // 2
    for value in values[:half]:
        observe(value)
    began = time.process_time()
    for value in values[half:]:
        observe(value)
    return 1e6 * (time.process_time() - began) / (len(values) - half)


def main() -> int:
    """Measure, print the page; `--write` writes it, `--json` ends with a line of ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one line of ratios")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    parts = [shifts(STREAMS, LENGTH, SHIFTED), drifts(TRIES, QUIET_WINDOWS), costs(POINTS)]
    goals = [goal for _, each in parts for goal in each]
    paragraphs = [paragraph for each, _ in parts for paragraph in each]
    written = [
        "# The monitor's detectors",
        machine.heading("benchmarks.detectors"),
        *paragraphs,
        report.goals_table(goals),
    ]
    print("\n\n".join(written))
    if arguments.write:
        report.write(PAGE, *written)
    if arguments.json:
        print(report.last_line({goal.name: round(float(goal.measured), 3) for goal in goals}, goals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
