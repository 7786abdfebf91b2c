"""What processes report: instruments, and the points that they record."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Attributes = tuple[tuple[str, str], ...]
"""Sorted by key, so that the same attributes are the same key of a dictionary."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The process that reports: `service.name` and `service.instance.id` of its resource."""

    service: str
    instance: str


class Kind(StrEnum):
    """How points of an instrument add up."""

    COUNTER = "counter"
    """Grows: points are summed."""
    GAUGE = "gauge"
    """Goes up and down: the last point stands."""
    HISTOGRAM = "histogram"
    """Counts by bucket: points are summed bucket by bucket."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is measured. Two that differ in unit or kind are two, whatever their name."""

    name: str
    unit: str
    kind: Kind
    description: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Buckets:
    """How many measurements fell where: bucket i has those in (bounds[i-1], bounds[i]], the last the rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float
    """The sum of the measurements."""
    maximum: float | None = None
    """The largest of them, where the sender says."""

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError("buckets need one count more than bounds")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of one series.

    `cumulative` says that `value` counts since `start_ns` (Unix nanoseconds) and not since the last point;
    for a gauge it says that `value` replaces the last one and is not added to it.
    """

    instrument: Instrument
    attributes: Attributes
    value: float | Buckets
    cumulative: bool = False
    start_ns: int = 0

    @property
    def number(self) -> float:
        """The value of a counter or gauge; raises TypeError for a histogram."""
        if isinstance(self.value, Buckets):
            raise TypeError(f"{self.instrument.name} is a histogram")
        return self.value

    @property
    def buckets(self) -> Buckets:
        """The value of a histogram; raises TypeError for another kind."""
        if not isinstance(self.value, Buckets):
            raise TypeError(f"{self.instrument.name} is no histogram")
        return self.value
