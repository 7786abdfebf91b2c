"""A number that changes as transitions come in: exploration, a learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Schedule:
    """A straight line from `start` to `end` over the first `steps` transitions, then `end`."""

    start: float
    end: float | None = None
    """None: `start` for ever."""
    steps: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.start if self.end is None else self.end)):
            raise ValueError("must begin and end with a number")
        if self.steps < 0:
            raise ValueError(f"must last 0 transitions or more, not {self.steps}")

    def at(self, step: int) -> float:
        """Return its value after `step` transitions."""
        if self.end is None:
            return self.start
        done = min(1.0, step / self.steps) if self.steps else 1.0
        return self.start + done * (self.end - self.start)

    def within(self, low: float, high: float) -> bool:
        """Say whether it never leaves the range."""
        ends = (self.start, self.start if self.end is None else self.end)
        return low <= min(ends) and max(ends) <= high
