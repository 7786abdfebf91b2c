"""A clock that stands until it is moved."""

from __future__ import annotations


class ManualClock:
    """Seconds that never go back."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
