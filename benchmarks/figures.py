"""The arithmetic of the tables: percentiles, medians over rounds, and how near a goal is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of `values` lie, linear between neighbours.

    That is the default definition of NumPy, number 7 of Hyndman and Fan (1996). Raises ValueError for none.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Wave:
    """Answers to prompts that were sent at once: when each one's tokens came, in seconds from the sending."""

    arrivals: Sequence[Sequence[float]]

    @property
    def tokens_per_second(self) -> float:
        """All tokens over the time to the last of them: reading the prompts is part of it."""
        return sum(map(len, self.arrivals)) / max(times[-1] for times in self.arrivals)

    @property
    def first_tokens(self) -> list[float]:
        """The seconds to each answer's first token."""
        return [times[0] for times in self.arrivals]

    @property
    def gaps(self) -> list[float]:
        """The seconds between an answer's tokens, over all answers; tokens that came together are one."""
        return [later - sooner for times in self.arrivals for sooner, later in pairwise(dict.fromkeys(times))]

    @property
    def together(self) -> float:
        """How many of an answer's tokens come together, in the mean: above 1 where drafts were accepted."""
        return sum(map(len, self.arrivals)) / sum(len(set(times)) for times in self.arrivals)


@dataclass(frozen=True)
class Rates:
    """What was done a second, one figure a round."""

    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)

    def by_round(self) -> str:
        """Return the rounds as a table has them."""
        return ", ".join(f"{rate:,.0f}" for rate in self.rates)

    def told(self) -> dict[str, Any]:
        """Return what JSON says: all fields, to a few digits."""
        exact = asdict(self)
        rounded = {name: round(value, 3) for name, value in exact.items() if isinstance(value, float)}
        return {
            **exact,
            **rounded,
            "rates": [round(rate, 2) for rate in self.rates],
            "rate": round(self.rate, 2),
        }


@dataclass(frozen=True)
class Streaming(Rates):
    """What a table says of one contestant at one concurrency; rates are tokens a second."""

    first_ms: float
    gap_ms: float
    late_gap_ms: float
    """The 99th percentile of the gaps of all rounds."""
    together: float

    @classmethod
    def of(cls, waves: Sequence[Wave]) -> Streaming:
        """Return the rounds' rates and, over all rounds' answers, the percentiles."""
        first = [second for wave in waves for second in wave.first_tokens]
        gaps = [gap for wave in waves for gap in wave.gaps]
        return cls(
            tuple(wave.tokens_per_second for wave in waves),
            1e3 * percentile(first, 0.5),
            1e3 * percentile(gaps, 0.5),
            1e3 * percentile(gaps, 0.99),
            statistics.mean(wave.together for wave in waves),
        )


@dataclass(frozen=True)
class Goal:
    """A figure that is to be reached: at least `required`, or at most where `most` is set."""

    name: str
    measured: float
    required: float
    most: bool = False

    @property
    def reached(self) -> float:
        """How near it is: 1 is the goal met, above 1 more than that."""
        if self.measured <= 0:
            return 0.0
        return self.required / self.measured if self.most else self.measured / self.required

    def __str__(self) -> str:
        sign = "≤" if self.most else "≥"
        return f"| {self.name} | {self.measured:.3g} | {sign} {self.required:g} | {self.reached:.2f} |"
