"""How the Numenta Anomaly Benchmark scores: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection
Algorithms", arXiv 1510.03336, section III, with the application profiles of its version 1.1.

A detection inside a window of an anomaly earns s(y) / s(-1) with s(y) = 2 / (1 + exp(5 y)) - 1, y the place
in the window from -1 (its first point) to 0; only the earliest detection of a window counts. A window without
any costs the profile's weight of a miss. Each detection outside costs the weight of a false alarm times s(y),
y the distance to the last window before it in widths of that window: little soon after it, and all of it
before the first or beyond three widths. Nothing counts in the first 15 % of a series, at most 750 points. One
threshold, the best, holds for all series of a profile. 0 is who detects nothing, 100 who detects each window
at its first point and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBATION, LONGEST_PROBATION = 0.15, 750
FAR = 3.0
"""Widths of a window behind it beyond which a false alarm costs all."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """What a detection, a miss and a false alarm weigh."""

    detection: float
    miss: float
    false_alarm: float


@dataclass(frozen=True)
class Recording:
    """One series of the benchmark."""

    name: str
    times: Sequence[datetime]
    values: Sequence[float]
    windows: Sequence[tuple[int, int]]
    """The first and the last point of each window."""

    @property
    def probation(self) -> int:
        """How many points at the beginning do not count."""
        return probation(len(self.values))


@dataclass(frozen=True)
class Result:
    """A score, and the threshold that gave it."""

    score: float
    threshold: float
    found: int
    """How many windows were detected."""
    false_alarms: int


def probation(points: int) -> int:
    """Return how many points of a series of this length do not count."""
    return min(math.floor(PROBATION * points), LONGEST_PROBATION)


def read_recordings(folder: Path) -> list[Recording]:
    """Return all series of a folder with `data/` and `labels/`, in the order of their names."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    return [_recording(folder / "data" / name, name, labels[name]) for name in sorted(labels)]


def read_profiles(folder: Path) -> dict[str, Profile]:
    """Return the profiles of a folder with `config/profiles.json`."""
    told = json.loads((folder / "config" / "profiles.json").read_text(encoding="utf-8"))
    return {name: _profile(each["CostMatrix"]) for name, each in told.items()}


def score(
    recordings: Sequence[Recording],
    scores: Sequence[Floats],
    profile: Profile,
    threshold: float | None = None,
) -> Result:
    """Return the score at a threshold, or at the best one.

    `scores[i]` has a number for each point of `recordings[i]`; a point is detected whose number is not below
    the threshold.
    """
    gains = [_gains(each, profile) for each in recordings]
    counted = [np.arange(len(each.values)) >= each.probation for each in recordings]
    firsts = np.cumsum([0, *(len(each.windows) for each in recordings)])
    owners = [_owners(each, first) for each, first in zip(recordings, firsts, strict=False)]
    kept = np.concatenate(counted)
    return _swept(
        np.concatenate(scores)[kept],
        np.concatenate(gains)[kept],
        np.concatenate(owners)[kept],
        sum(len(each.windows) for each in recordings),
        profile,
        threshold=threshold,
    )


def _swept(
    scores: Floats,
    gains: Floats,
    owners: NDArray[np.int64],
    windows: int,
    profile: Profile,
    *,
    threshold: float | None,
) -> Result:
    """Lower the threshold from score to score; stop at the one that is asked for, or at the best sum."""
    order = np.argsort(-scores, kind="stable")
    scores, gains, owners = scores[order], gains[order], owners[order]
    changes = np.where(owners < 0, gains, 0.0)
    fresh = np.zeros(len(order))
    for owner in np.unique(owners[owners >= 0]):
        places = np.flatnonzero(owners == owner)
        reached = np.maximum.accumulate(np.concatenate(([-profile.miss], gains[places])))
        changes[places] = np.diff(reached)
        fresh[places[0]] = 1.0
    last_of_ties = np.append(scores[1:] != scores[:-1], True)
    sums = np.where(last_of_ties, np.cumsum(changes), -np.inf)
    best = int(np.argmax(sums)) if threshold is None else int((scores >= threshold).sum()) - 1
    worst, perfect = -windows * profile.miss, windows * profile.detection
    if best < 0 or (threshold is None and sums[best] <= 0):  # nothing is detected, and best so
        return Result(0.0, math.inf if threshold is None else threshold, 0, 0)
    return Result(
        100.0 * float(sums[best]) / (perfect - worst),
        float(scores[best]),
        int(fresh[: best + 1].sum()),
        int((owners[: best + 1] < 0).sum()),
    )


def _gains(recording: Recording, profile: Profile) -> Floats:
    """Return what a detection at each point is worth."""
    places = np.arange(len(recording.values), dtype=np.float64)
    gains = np.full(len(places), -profile.false_alarm)
    for first, last in recording.windows:
        width = last - first + 1
        behind = places > last
        gains[behind] = profile.false_alarm * _worth((places[behind] - last) / (width - 1))
        within = (places >= first) & (places <= last)
        gains[within] = profile.detection * _worth((places[within] - last - 1) / width) / _worth(-1.0)
    return gains


def _worth(place: Floats | float) -> Any:
    return np.where(np.asarray(place) > FAR, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, FAR))) - 1.0)


def _owners(recording: Recording, number_of_first: int) -> NDArray[np.int64]:
    """Return the number of each point's window over all series, -1 outside."""
    owners = np.full(len(recording.values), -1, dtype=np.int64)
    for number, (first, last) in enumerate(recording.windows, number_of_first):
        owners[first : last + 1] = number
    return owners


def _recording(path: Path, name: str, windows: Sequence[Sequence[str]]) -> Recording:
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line]
    times = [datetime.fromisoformat(time) for time, _ in lines]
    places = {time: place for place, time in reversed(list(enumerate(times)))}
    edges = [(places[_time(first)], places[_time(last)]) for first, last in windows]
    return Recording(name, times, [float(value) for _, value in lines], edges)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _profile(weights: Mapping[str, float]) -> Profile:
    return Profile(weights["tpWeight"], weights["fnWeight"], weights["fpWeight"])
