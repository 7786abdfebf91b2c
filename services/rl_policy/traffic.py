"""Which versions act in live episodes, and when a canary is sent back by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from services.kit.errors import invalid
from services.rl_policy.algorithms import draws

STABLE, CANARY, SHADOW = "stable", "canary", "shadow"
CONFIDENCE = 0.99
"""Of a verdict. It is passed after every episode: at 0.95, one good canary in five or so would go."""
_CHOICE_SEED = 0x7472616666


@dataclass(frozen=True)
class Guard:
    """When a canary is sent back."""

    min_episodes: int = 20
    min_return: float | None = None
    max_drop: float = 0.0
    automatic: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.min_episodes <= 1_000_000:
            raise invalid("guard.min_episodes", f"must be from 2 to 1,000,000, not {self.min_episodes}")
        if self.min_return is not None and not isfinite(self.min_return):
            raise invalid("guard.min_return", "must be finite")
        if not (isfinite(self.max_drop) and self.max_drop >= 0):
            raise invalid("guard.max_drop", f"must be 0 or more, not {self.max_drop}")


@dataclass(frozen=True)
class Traffic:
    """Which versions act in live episodes; 0: none."""

    stable: int = 1
    canary: int = 0
    share: float = 0.0
    guard: Guard = Guard()
    shadow: int = 0
    previous: int = 0

    def choose(self, key: int) -> tuple[int, str]:
        """Return version and variant of the episode with this seed: always the same."""
        number = draws.uniforms(_CHOICE_SEED, np.asarray([key]), np.zeros(1, np.int64), 1)[0, 0]
        return (self.canary, CANARY) if self.canary and number < self.share else (self.stable, STABLE)

    def promoted(self, version: int, share: float, guard: Guard) -> Traffic:
        """Return the traffic with `version` on trial at `share`, or stable where that is 1."""
        if share < 1:
            return self if version == self.stable else replace(self, canary=version, share=share, guard=guard)
        if version == self.stable:
            return replace(self, canary=0, share=0.0)
        return replace(self, stable=version, previous=self.stable, canary=0, share=0.0)

    def rolled_back(self) -> Traffic | None:
        """Return the traffic without the canary, or with the version before; None where there is neither."""
        if self.canary:
            return replace(self, canary=0, share=0.0)
        return replace(self, stable=self.previous, previous=0) if self.previous else None

    def document(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Traffic:
        """Return the traffic that `document` made."""
        return cls(**{**document, "guard": Guard(**document["guard"])}) if document else cls()


@dataclass(frozen=True)
class Returns:
    """Count, mean and sum of squared deviations of returns (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_one(self, value: float) -> Returns:
        """Return them with one more."""
        count = self.count + 1
        mean = self.mean + (value - self.mean) / count
        return Returns(count, mean, self.squares + (value - self.mean) * (value - mean))

    @property
    def variance(self) -> float:
        """The sample's variance; infinite below two."""
        return self.squares / (self.count - 1) if self.count > 1 else float("inf")


def verdict(guard: Guard, canary: Returns, stable: Returns) -> str:
    """Return why the canary must go, as a sentence with the figures; empty while nothing is sure."""
    if canary.count < guard.min_episodes:
        return ""
    told = f"its mean return over {canary.count} episodes is {canary.mean:.6g}"
    if guard.min_return is not None:
        bound = canary.mean + _t(canary.count - 1) * sqrt(canary.variance / canary.count)
        if bound < guard.min_return:
            return f"{told}, surely ({CONFIDENCE:.0%}) below {guard.min_return:g}"
    if stable.count < 2:
        return ""
    error, freedom = _welch(canary, stable)
    drop = stable.mean - canary.mean
    if drop - _t(freedom) * error > guard.max_drop:
        return (
            f"{told}, that of the stable version over {stable.count} is {stable.mean:.6g}: "
            f"surely ({CONFIDENCE:.0%}) lower by more than {guard.max_drop:g}"
        )
    return ""


def _welch(first: Returns, second: Returns) -> tuple[float, float]:
    """Return the difference's standard error and its degrees of freedom (Welch 1947)."""
    a, b = first.variance / first.count, second.variance / second.count
    if a + b == 0:
        return 0.0, float(first.count + second.count - 2)
    freedom = (a + b) ** 2 / (a**2 / (first.count - 1) + b**2 / (second.count - 1))
    return sqrt(a + b), freedom


def _t(freedom: float) -> float:
    """Return Student's quantile at CONFIDENCE, by its expansion in 1 / freedom (Cornish and Fisher 1938)."""
    z = NormalDist().inv_cdf(CONFIDENCE)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
