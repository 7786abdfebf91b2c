"""`python -m benchmarks.nab --data FOLDER`: the monitor's detector on the Numenta Anomaly Benchmark.

FOLDER holds the benchmark's `data/`, `labels/` and `config/`. One set of parameters for all 58 series, each
read point by point from its beginning, with nothing known of what comes. Where FOLDER has
`windowed-gaussian-results.tar.xz` and `published-scores.json`, the scorer is checked first: from that
detector's own results it must give that detector's published scores.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import numpy as np

from benchmarks import machine, report
from benchmarks.figures import Goal
from benchmarks.nab_scoring import Floats, Profile, Recording, Result, read_profiles, read_recordings, score
from services.monitor.detectors.surprise import Surprise

PAGE = Path(__file__).with_suffix(".md")
PUBLISHED, CHECKED = "published-scores.json", "windowedGaussian"
RESULTS = "windowed-gaussian-results.tar.xz"
GOAL = 70.0
_PLACE = re.compile(r"--data[ =]\S+")
MICROSECONDS = 20.0


@dataclass(frozen=True)
class Found:
    """What a run has shown."""

    results: dict[str, Result]
    by_folder: list[list[str]]
    published: dict[str, dict[str, float]]
    crossed: float
    """The standard score where each half of the series has the threshold that is best for the other half."""
    checked: dict[str, float]
    """What the scorer gives for windowedGaussian, by profile."""
    microseconds: float
    """A point, in the mean."""


def detect(recording: Recording) -> tuple[Floats, float]:
    """Return a score for each point, and the seconds of processor time that they took."""
    detector, began = Surprise(), time.process_time()
    seconds = [each.replace(tzinfo=UTC).timestamp() for each in recording.times]
    scores = np.array(
        [detector.observe(at, value) for at, value in zip(seconds, recording.values, strict=True)]
    )
    return scores, time.process_time() - began


def measured(folder: Path, processes: int) -> Found:
    """Read, detect and score."""
    recordings, profiles = read_recordings(folder), read_profiles(folder)
    with ProcessPoolExecutor(processes) as pool:
        told = list(pool.map(detect, recordings))
    scores = [each for each, _ in told]
    known = read_results(folder, recordings)
    points = sum(len(each.values) for each in recordings)
    return Found(
        {name: score(recordings, scores, profile) for name, profile in profiles.items()},
        list(by_folder(recordings, scores, score(recordings, scores, profiles["standard"]).threshold)),
        published(folder),
        crossed(recordings, scores, profiles["standard"]),
        {name: score(recordings, known, profile).score for name, profile in profiles.items() if known},
        1e6 * sum(seconds for _, seconds in told) / points,
    )


def crossed(recordings: Sequence[Recording], scores: Sequence[Floats], profile: Profile) -> float:
    """Return the score of all, every other series with the threshold that is best for the rest."""
    earned, windows = 0.0, 0
    for half in (0, 1):
        learned = score(recordings[1 - half :: 2], scores[1 - half :: 2], profile).threshold
        found = score(recordings[half::2], scores[half::2], profile, learned)
        weight = sum(len(each.windows) for each in recordings[half::2])
        earned, windows = earned + found.score * weight, windows + weight
    return earned / windows


def read_results(folder: Path, recordings: Sequence[Recording]) -> list[Floats]:
    """Return windowedGaussian's scores of each series, nothing where its files are not there."""
    if not (folder / RESULTS).exists():
        return []
    found = dict[str, Floats]()
    with tarfile.open(folder / RESULTS) as archive:
        for member in archive:
            place, _, file = member.name.removeprefix(f"{CHECKED}/").rpartition("/")
            name = f"{place}/{file.removeprefix(f'{CHECKED}_')}"
            content = archive.extractfile(member) if place else None
            if content:
                lines = content.read().decode().splitlines()[1:]
                found[name] = np.array([float(line.split(",")[2]) for line in lines])
    return [found[each.name] for each in recordings]


def published(folder: Path) -> dict[str, dict[str, float]]:
    """Return the published scores, by detector and profile."""
    path = folder / PUBLISHED
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def by_folder(
    recordings: Sequence[Recording], scores: Sequence[Floats], threshold: float
) -> Iterator[list[str]]:
    """Yield a line for each kind of series: windows, those found, false alarms, points."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for recording, each in zip(recordings, scores, strict=True):
        alarms = np.flatnonzero(each >= threshold)
        alarms = alarms[alarms >= recording.probation]
        hits = [[first <= alarm <= last for alarm in alarms] for first, last in recording.windows]
        outside = sum(not any(column) for column in zip(*hits, strict=True)) if hits else len(alarms)
        line = (len(hits), sum(map(any, hits)), outside, len(each) - recording.probation)
        folder = recording.name.partition("/")[0]
        counts[folder] = [before + more for before, more in zip(counts[folder], line, strict=True)]
    for folder, told in counts.items():
        yield [folder, *(f"{number:,}" for number in told)]


def page(found: Found) -> list[str]:
    """Return the paragraphs of the page."""
    rows = {"Trunkline": {name: each.score for name, each in found.results.items()}, **found.published}
    ordered = sorted(rows.items(), key=lambda row: -row[1]["standard"])
    profiles = list(found.results)
    return [
        "# The Numenta Anomaly Benchmark",
        _PLACE.sub("--data FOLDER", machine.heading("benchmarks.nab")),
        (
            "All 58 series of NAB 1.1, one set of parameters, point by point, nothing known of what comes; "
            "as NAB prescribes, one threshold a profile, the best, for all series. The parameters of "
            "`services/monitor/detectors/surprise.py` were chosen by looking at this benchmark's scores: the "
            "figure says what the method can do here, not what it will do elsewhere. "
            "Scores of the others are the published ones."
        ),
        report.table(
            ["detector", *profiles],
            ([name, *(f"{row[profile]:.1f}" for profile in profiles)] for name, row in ordered),
        ),
        report.table(
            ["profile", "score", "threshold", "windows found of 116", "false alarms"],
            (
                [name, f"{each.score:.2f}", f"{each.threshold:.2f}", str(each.found), str(each.false_alarms)]
                for name, each in found.results.items()
            ),
        ),
        (
            "Every other series, with the threshold that is best for the rest, and the other way round: "
            f"{found.crossed:.2f} (standard profile)."
        ),
        "At the threshold of the standard profile:",
        report.table(["series", "windows", "found", "false alarms", "points that count"], found.by_folder),
        *checks(found),
        report.goals_table(goals(found)),
    ]


def checks(found: Found) -> Iterator[str]:
    """Yield what speaks for the scorer."""
    if found.checked:
        told = ", ".join(
            f"{name} {value:.6f} (published {found.published[CHECKED][name]:.6f})"
            for name, value in found.checked.items()
        )
        yield f"The scorer, given {CHECKED}'s own results: {told}."


def goals(found: Found) -> list[Goal]:
    """Return the goals."""
    return [
        Goal("NAB, standard profile", found.results["standard"].score, GOAL),
        Goal("NAB, processor time a point, µs", found.microseconds, MICROSECONDS, most=True),
    ]


def main() -> int:
    """Measure, print the page and write it; `--json` ends with the scores by profile on one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the benchmark")
    parser.add_argument("--json", action="store_true", help="end with one line of scores")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    found = measured(arguments.data, arguments.processes)
    written = page(found)
    print("\n\n".join(written))
    if arguments.write:
        report.write(PAGE, *written)
    if arguments.json:
        print(json.dumps({name: round(each.score, 4) for name, each in found.results.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
