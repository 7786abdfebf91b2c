"""Experiments: who gets which variant, by a hash alone, so every replica says the same and nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal

from services.kit.errors import invalid

MAX_VARIANTS = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of answering."""

    name: str
    weight: float = 1.0
    """Its share of the units, relative to the others'."""
    scenario: str = ""
    """The pipeline that it uses; empty: the experiment's own scenario."""
    version: str = ""
    """The version of the models that it uses; empty: the live one."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Variants of one scenario, shared out between users or sessions. The first variant is the control."""

    name: str
    scenario: str
    variants: tuple[Variant, ...]
    unit: Literal["user", "session"] = "user"
    salt: str = ""
    """Makes the shares independent of other experiments'; empty: the name."""
    starts: float = 0.0
    ends: float = 0.0
    """Unix seconds; 0: no end."""

    def runs(self, now: float) -> bool:
        """Return whether it assigns at the time `now`."""
        return self.starts <= now and (not self.ends or now < self.ends)

    def assign(self, unit_id: str) -> Variant:
        """Return the variant of a user or session: the unit's place in [0, 1) among the summed weights."""
        place = fraction(self.salt or self.name, unit_id) * sum(each.weight for each in self.variants)
        edges = accumulate(each.weight for each in self.variants)
        for variant, edge in zip(self.variants, edges, strict=True):
            if place < edge:
                return variant
        return self.variants[-1]

    def variant(self, name: str) -> Variant | None:
        """Return the variant of that name, None where there is none."""
        return next((each for each in self.variants if each.name == name), None)


def fraction(salt: str, unit_id: str) -> float:
    """Return a number in [0, 1) that is uniform over units and independent between salts."""
    digest = blake2b(unit_id.encode(), key=blake2b(salt.encode()).digest(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


def check(experiment: Experiment) -> None:
    """Raise InvalidArgument where an experiment cannot be run."""
    variants = experiment.variants
    if not 2 <= len(variants) <= MAX_VARIANTS:
        raise invalid("variants", f"must be 2 to {MAX_VARIANTS}, not {len(variants)}")
    if len({each.name for each in variants}) < len(variants):
        raise invalid("variants", "must have different names")
    for place, each in enumerate(variants):
        if not 0 <= each.weight < 1e9:
            raise invalid(f"variants[{place}].weight", f"must be from 0 to a billion, not {each.weight:g}")
    if not any(each.weight for each in variants):
        raise invalid("variants", "must have a weight above 0")
    if experiment.ends and experiment.ends <= experiment.starts:
        raise invalid("ends", "must be after the start")
